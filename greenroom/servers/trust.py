"""Which external servers greenroom may use: what the URL must say, and what the server itself must be.

All of it is asked before anything is changed there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from greenroom import hints
from greenroom.errors import RefusedError, ServerError

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

    from greenroom.config import Config

REMEDY: Final = (
    "set GREENROOM_SERVER_URL to an admin URL, such as postgresql://postgres:…@localhost:5432/postgres"
)

OLDEST: Final = 14
"""The oldest major version of PostgreSQL."""

_OPTIONS: Final = frozenset({
    "host", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation", "gssencmode", "channel_binding",
    "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
})  # fmt: skip
"""What may follow the URL's question mark. The rest of libpq's options overrule what stands before it (dbname, user,
port), lead elsewhere (service, hostaddr), or hold a password where it would be shown."""


def admin_url(text: str, config: Config) -> URL:
    """Return the URL `text` for psycopg, if it names one server on this machine or one that the configuration allows.

    Raises:
        ServerError: It is not the URL of a Postgres.
        RefusedError: It names another machine, or does not say plainly where it leads.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    variable = config.server_url
    try:
        url = make_url(text)
    # ValueError: the port is not a number.
    except (ArgumentError, ValueError):
        # The text is not shown: whatever it is, it may hold a password.
        raise ServerError(f"{variable} is not a URL.", hint=REMEDY) from None
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise ServerError(
            f"{variable} must be a postgresql:// URL. Found scheme: {url.drivername}.", hint=REMEDY
        )
    if "@" in (url.host or ""):
        # Not shown either: what is taken for the host begins with the end of the password.
        raise ServerError(f"{variable} has more than one @.", hint="in a password, write %40 for @")
    if "service" in url.query or "servicefile" in url.query:
        raise RefusedError(
            f"{variable} names a libpq service, which may stand for any host.",
            hint="write the host into the URL itself",
        )
    hosts = list(dict.fromkeys(_hosts(url)))
    for host in hosts:
        if not _local(host) and host not in config.allowed_hosts:
            raise RefusedError(
                f"{variable} names the host {host!r}, which is not this machine. Greenroom uses another machine's "
                f"server only if the configuration names it.",
                hint=f'if it is a test server: allowed_hosts = ["{host}"] in [tool.greenroom]',
            )
    if unknown := sorted(set(url.query) - _OPTIONS):
        raise RefusedError(
            f"{variable} has options that may override other parts of the URL: {', '.join(unknown)}.",
            hint="write user, password, host, port and database as parts of the URL: "
            "postgresql://user:password@host:port/postgres",
        )
    if len(hosts) > 1:
        raise RefusedError(
            f"{variable} must name exactly one server. Found: {', '.join(hosts)}.",
            hint="leave one host in the URL",
        )
    database = url.database or "postgres"
    if database.startswith("template"):
        raise RefusedError(
            f"{variable} names the database {database!r}. A connection to it keeps everybody else from creating databases.",
            hint="name the database postgres instead",
        )
    return url.set(drivername="postgresql+psycopg", database=database)


_FACTS: Final = """
SELECT pg_is_in_recovery(), current_setting('is_superuser') = 'on', current_user, host(inet_server_addr()),
       EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
                  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                  AND NOT EXISTS (SELECT FROM pg_depend
                                   WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'))"""


def check(connection: psycopg.Connection[Any], url: URL, config: Config) -> None:
    """Check the server before anything is changed there.

    Args:
        connection: To the maintenance database.
        url: What was connected to.
        config: The project.

    Raises:
        ServerError: It is none that greenroom can use.
        RefusedError: It shows signs of being somebody's real database.
    """
    version = connection.info.server_version
    if version < OLDEST * 10000:
        raise ServerError(
            f"{config.server_url} must name a server with PostgreSQL {OLDEST} or newer. Found: {version // 10000}.",
            hint=f"start a newer one; {hints.engine('embedded')} brings its own",
        )
    row = connection.execute(_FACTS).fetchone()
    assert row is not None
    replica, superuser, user, address, tables = row
    if replica:
        raise RefusedError(
            f"{config.server_url} names a standby, which copies another server and cannot be used for tests.",
            hint="name a primary server",
        )
    if not superuser:
        raise RefusedError(
            f"{config.server_url} must name a superuser, since only a superuser may switch foreign keys off for a moment and "
            f"see schema changes. Found: {user!r}, which is not one.",
            hint="in the service images of CI systems, use the role postgres",
        )
    # A tunnel. A private address proves nothing: a container whose port is published on localhost has one, too.
    if address and _local(url.host or "") and _global(address) and address not in config.allowed_hosts:
        raise RefusedError(
            f"{config.server_url} names this machine, but the server that answers has the address {address}: "
            f"the port is forwarded to another machine.",
            hint=f'if it is a test server: allowed_hosts = ["{address}"] in [tool.greenroom]',
        )
    # Nothing would be written there. But who names an application's database most likely took the wrong URL.
    if tables and url.database != "postgres":
        raise RefusedError(
            f"{config.server_url} names the database {url.database!r}, which contains tables, so it is in use. Greenroom "
            f"creates its own databases, and only needs one to connect to.",
            hint="if it is the right server, name its database postgres instead",
        )


def _hosts(url: URL) -> Iterator[str]:
    """Return all hosts that libpq might connect to, from every part of the URL that can name one."""
    for value in (url.host, url.query.get("host"), url.query.get("hostaddr")):
        for part in value if isinstance(value, tuple) else (value,):
            if part is not None:
                yield from part.split(",")


def _local(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _global(address: str) -> bool:
    return ipaddress.ip_address(address).is_global
