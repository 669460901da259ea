"""A server that somebody else runs: a service in CI, or a shared one. Its admin URL comes from the environment."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Self

from greenroom import checkout
from greenroom.errors import RefusedError, ServerError
from greenroom.servers.base import Server
from greenroom.urls import conninfo, redacted

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say


WAIT: Final = "GREENROOM_SERVER_WAIT"
"""The environment variable by which a stack says how many seconds its server may take to be there."""


class External(Server):
    """The server that the environment variable `server_url` (by default GREENROOM_SERVER_URL) names.

    Greenroom creates databases on it and drops only those. The database that the URL names is connected to for these
    commands and never written to.
    """

    kind = "external"
    preference = 10
    remedy = (
        "set GREENROOM_SERVER_URL to an admin URL, such as postgresql://postgres:…@localhost:5432/postgres"
    )

    _TIMEOUT = 5
    """Seconds to wait for a connection."""

    def __init__(self, config: Config) -> None:
        # Imported where they are used: most commands on another kind of server get by without SQLAlchemy and psycopg.
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        self._variable = config.server_url
        self._role = config.role
        self._checkout = checkout.identity(config.root)
        text = os.environ.get(config.server_url, "")
        try:
            url = make_url(text)
        except ArgumentError:
            # The text is not shown: whatever it is, it may hold a password.
            raise ServerError(f"{config.server_url} is not a URL.", hint=self.remedy) from None
        if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
            raise ServerError(
                f"{config.server_url} must be a postgresql:// URL. Found scheme: {url.drivername}.",
                hint=self.remedy,
            )
        self._admin = url.set(drivername="postgresql+psycopg", database=url.database or "postgres")
        _refuse_remote(self._admin, config)

    @classmethod
    def why_not(cls, config: Config) -> str | None:
        """It can be had where the variable is set."""
        return None if os.environ.get(config.server_url) else f"{config.server_url} is not set"

    @classmethod
    def kept(cls, config: Config) -> bool:
        """Whoever sets the variable keeps a server up."""
        return cls.why_not(config) is None

    @classmethod
    def for_run(cls, config: Config) -> Self:
        """The server of the environment."""
        return cls(config)

    @classmethod
    def for_checkout(cls, config: Config) -> Self:
        """The server of the environment."""
        return cls(config)

    @classmethod
    def join(cls, config: Config, handle: str) -> Self:  # noqa: ARG003 - the environment says it all
        """The server of the environment, which all processes of the run share."""
        return cls(config)

    @property
    def handle(self) -> str:
        """Nothing: the environment says it all."""
        return ""

    @property
    def admin(self) -> URL:
        """The URL from the environment."""
        return self._admin

    @property
    def where(self) -> str:
        """The URL, without its password."""
        return redacted(self._admin)

    def running(self) -> bool:
        """Whether it accepts a connection."""
        import psycopg

        try:
            self._connect()
        except psycopg.OperationalError:
            return False
        return True

    def start(self, say: Say) -> None:  # noqa: ARG002 - there is nothing to report
        """Check that it answers; somebody else starts it."""
        import psycopg

        try:
            self._connect()
        except psycopg.OperationalError as error:
            raise ServerError(
                f"The server that {self._variable} names does not answer ({self.where}): {_plain(error)}.",
                hint="start it, or correct the URL; ENGINE=embedded does without it",
            ) from None

    def stop(self) -> None:
        """Leave it alone: it is not ours."""

    def remove(self, say: Say) -> bool:
        """Drop this checkout's databases that are not in use; the server is not ours."""
        if not self.running():
            return False
        from greenroom.database.admin import Admin

        dropped = False
        with Admin(self._admin) as admin:
            for database in admin.databases():
                if database.checkout != self._checkout:
                    continue
                with admin.lock(database.name, wait=False) as free:
                    if free:
                        admin.drop(database.name)
                        say(f"dropped {database.name}")
                        dropped = True
            if dropped and admin.drop_role(self._role):
                say(f"dropped the role {self._role}")
        return dropped

    def _connect(self) -> None:
        """Connect once; in a stack whose server is just being started, as soon as that is possible.

        Raises:
            psycopg.OperationalError: It does not answer.
        """
        import psycopg

        patience = float(os.environ.get(WAIT) or 0)
        end = time.monotonic() + patience
        while True:
            try:
                with psycopg.connect(conninfo(self._admin), connect_timeout=self._TIMEOUT) as connection:
                    # The image's temporary server, which initialises the data, listens on the socket, and goes away.
                    row = connection.execute("SHOW listen_addresses").fetchone()
                    if not patience or (row and row[0]):
                        return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.02)


def _refuse_remote(url: URL, config: Config) -> None:
    """Refuse a server on another machine, unless the configuration names its host."""
    if "service" in url.query:
        raise RefusedError(
            f"{config.server_url} names a service of libpq's, which may stand for any host.",
            hint="write the host into the URL itself",
        )
    for host in _hosts(url):
        if not _local(host) and host not in config.allowed_hosts:
            raise RefusedError(
                f"{config.server_url} names the host {host!r}, which is not this machine. Greenroom uses another "
                f"machine's server only where the configuration names it.",
                hint=f'if it is a test server: allowed_hosts = ["{host}"] in [tool.greenroom]',
            )


def _hosts(url: URL) -> Iterator[str]:
    """All hosts that libpq might connect to, in each of the places where a URL can name them."""
    for value in (url.host, url.query.get("host"), url.query.get("hostaddr")):
        for part in value if isinstance(value, tuple) else (value or "",):
            yield from part.split(",")


def _local(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _plain(error: psycopg.Error) -> str:
    return " ".join(str(error).partition("\n\tIs the server")[0].split()).rstrip(".")
