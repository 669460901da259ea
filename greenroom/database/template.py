"""The template: a database that is migrated once and cloned ever after."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import psycopg
from sqlalchemy import URL

from greenroom import checkout
from greenroom.database import fingerprint, migrate, strategy
from greenroom.database.admin import Admin
from greenroom.database.marks import PREFIX
from greenroom.database.prepare import prepare
from greenroom.output import Say, timed
from greenroom.urls import conninfo

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.servers import Server

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
        admin.ensure_role(config.role, password(config, server))
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
                say("another run is building the template; waiting for it …")
                waits = True
            # Shared, as those hold it who have cloned it.
            with admin.lock(name, shared=True):
                found = admin.find(name)
                if found and found.complete:
                    return name
            # Whoever was building it has failed.


def app_url(config: Config, server: Server, database: str) -> URL:
    """The URL of a database on the server as the application gets it: its own role, its own driver."""
    from greenroom.urls import for_driver

    return for_driver(role_url(config, server, database), config.driver)


def _build(config: Config, server: Server, admin: Admin, name: str, say: Say) -> None:
    """Build the template unless it is complete. The caller holds its lock."""
    found = admin.find(name)
    if found is not None:
        if found.complete:
            return
        # Somebody died while building it.
        admin.drop(name)
    with timed(say, "migrating a new template", "migrated"):
        admin.create(name, "template", owner=config.role, checkout=checkout.identity(config.root))
        own = server.admin.set(database=name)
        try:
            create_extensions(config, server, name)
            migrate.run(config, role_url(config, server, name))
            prepare(own)
            with psycopg.connect(conninfo(own), autocommit=True) as connection:
                # Once for all clones: hint bits and statistics are copied with the pages.
                connection.execute("VACUUM (FREEZE, ANALYZE)")
            ways = strategy.measure(admin, name, owner=config.role, checkout=checkout.identity(config.root))
        except BaseException:
            admin.drop(name)
            raise
        admin.complete(name, strategies=ways)
    say(f"clones are made by {strategy.said(ways)}")
    _prune(config, admin)


def create_extensions(config: Config, server: Server, database: str) -> None:
    """Create the extensions that the configuration names, as the admin: the application's role may not."""
    with psycopg.connect(conninfo(server.admin.set(database=database)), autocommit=True) as connection:
        for extension in config.extensions:
            connection.execute(
                psycopg.sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(
                    psycopg.sql.Identifier(extension)
                )
            )


def _prune(config: Config, admin: Admin) -> None:
    """Drop this checkout's oldest templates beyond `KEPT`, except those that are being cloned or built."""
    mine = [
        database.name
        for database in admin.databases()
        if database.kind == "template" and database.checkout == checkout.identity(config.root)
    ]
    for name in mine[:-KEPT]:
        with admin.lock(name, wait=False) as free:
            if free:
                admin.drop(name)


def role_url(config: Config, server: Server, database: str) -> URL:
    """The URL of a database on the server as the application's role, for psycopg."""
    return server.admin.set(database=database, username=config.role, password=password(config, server))


def password(config: Config, server: Server) -> str | None:
    """The role's password, the same for each run that knows the admin's, so that nothing has to be kept anywhere.

    None where the admin has none either: the server then trusts whoever reaches it.
    """
    if not server.admin.password:
        return None
    return hmac.new(str(server.admin.password).encode(), config.role.encode(), hashlib.sha256).hexdigest()[
        :32
    ]
