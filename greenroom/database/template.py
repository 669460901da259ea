"""The template: a database that is migrated once and cloned ever after."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL

from greenroom import runtime
from greenroom.connection import BUILD, connect
from greenroom.database import extensions, fingerprint, migrate, strategy
from greenroom.database.admin import Admin
from greenroom.database.marks import PREFIX
from greenroom.database.rewind.prepare import prepare
from greenroom.output import Say, timed

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.servers import Postgres, Server

KEPT: Final = 4
"""Templates that a checkout keeps, so that changing between branches does not migrate each time."""


def name_of(digest: str) -> str:
    """The name of the template with that hash."""
    return f"{PREFIX}template_{digest}"


def ensure(config: Config, server: Server, say: Say) -> str:
    """The name of the project's template on the server, building it if it is not there.

    Of several runs that want it at once, one builds it and the others wait.

    Raises:
        TemplateError: The schema could not be built.
        RewindError: The admin's role lacks a right.
    """
    with Admin(server.admin) as admin:
        name = name_of(fingerprint.of(config, server_version=admin.version))
        for role in config.all_roles:
            admin.ensure_role(role, password(server, role), beside=config.all_roles)
        found = admin.find(name)
        if found and found.complete:
            return name
        waits = False
        while True:
            with admin.lock(name, wait=False) as had:
                if had:
                    _build(config, server, admin, name, say)
                    return name
            if not waits:
                holder = admin.holder(name)
                who = f"another run (process {holder})" if holder else "another run"
                say(f"{who} is building the template; waiting for it, {_patience(config):g} s at most …")
                waits = True
            # Shared, as those hold it who have cloned it.
            with admin.lock(name, shared=True, seconds=_patience(config)):
                found = admin.find(name)
                if found and found.complete:
                    return name
            # Whoever was building it has failed.


def is_there(config: Config, server: Server) -> bool:
    """Whether the project's template is on the server, which runs."""
    with Admin(server.admin) as admin:
        found = admin.find(name_of(fingerprint.of(config, server_version=admin.version)))
        return found is not None and found.complete


def _patience(config: Config) -> float:
    """Seconds to wait for another run that builds the template: as long as it may take itself."""
    return 2 * BUILD + config.migration_timeout


def app_url(config: Config, server: Postgres, database: str, role: str | None = None) -> URL:
    """The URL of a database on the server as the application gets it: its own driver, and by default its own role."""
    from greenroom.urls import for_driver

    url = role_url(config, server, database, role)
    if config.connect == "tcp" and server.loopback is not None:
        host, port = server.loopback
        url = url.set(host=host, port=port, query={})
    return for_driver(url, config.driver)


def _build(config: Config, server: Server, admin: Admin, name: str, say: Say) -> None:
    """Build the template unless it is complete. The caller holds its lock."""
    found = admin.find(name)
    if found is not None:
        if found.complete:
            return
        # Somebody died while building it.
        admin.drop(name)
    with timed(say, "migrating a new template", "migrated"):
        admin.create(name, "template", owner=config.owner, checkout=runtime.identity(config.root))
        own = server.admin.set(database=name)
        try:
            extensions.create(config, server, name)
            notes = migrate.run(
                config,
                server,
                role_url(config, server, name, config.owner),
                app_url(config, server, name, config.owner),
            )
            prepare(own)
            with connect(own, answer=BUILD, autocommit=True) as connection:
                # Once for all clones: hint bits and statistics are copied with the pages.
                connection.execute("VACUUM (FREEZE, ANALYZE)")
            ways = strategy.measure(admin, name, owner=config.owner, checkout=runtime.identity(config.root))
        except BaseException:
            admin.drop(name)
            raise
        admin.complete(name, strategies=ways, notes=notes)
    for note in notes:
        say(note)
    say(f"clones are made by {strategy.said(ways)}")
    _prune(config, admin)


def _prune(config: Config, admin: Admin) -> None:
    """Drop this checkout's oldest templates beyond `KEPT`, except those that are being cloned or built."""
    mine = [
        database.name
        for database in admin.databases()
        if database.kind == "template" and database.checkout == runtime.identity(config.root)
    ]
    for name in mine[:-KEPT]:
        with admin.lock(name, wait=False) as free:
            if free:
                admin.drop(name)


def role_url(config: Config, server: Postgres, database: str, role: str | None = None) -> URL:
    """The URL of a database on the server as a role, by default the application's, for psycopg."""
    return server.admin.set(
        database=database, username=role or config.role, password=password(server, role or config.role)
    )


def password(server: Postgres, role: str) -> str | None:
    """A role's password, the same for each run that knows the server's secret, so that it is kept nowhere.

    None where the server trusts whoever reaches it.
    """
    if server.secret is None:
        return None
    return hmac.new(server.secret.encode(), role.encode(), hashlib.sha256).hexdigest()[:32]
