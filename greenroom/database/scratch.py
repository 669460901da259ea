"""A database in which a project's extensions are tried, and that is dropped afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenroom import runtime
from greenroom.connection import BUILD, connect
from greenroom.database import extensions, template
from greenroom.database.admin import Admin
from greenroom.database.clone import name_for
from greenroom.errors import TemplateError

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.servers import Server


def tried(config: Config, server: Server) -> Iterator[tuple[str, str | TemplateError]]:
    """Create each extension that the project asks for: those that are configured, and those that its files create.

    Args:
        config: The project.
        server: The server, which runs.

    Yields:
        Its name, and its version or why it is not there in a run.
    """
    unlisted = [each for each in extensions.asked(config) if each not in config.extension_names]
    names = [*config.extensions, *unlisted]
    if not names:
        return
    server.provide([*config.extension_names, *unlisted])
    with Admin(server.admin) as admin:
        for role in config.all_roles:
            admin.ensure_role(role, template.password(server, role), beside=config.all_roles)
        database = name_for(secrets.token_hex(4), "extensions")
        with admin.lock(database):
            admin.create(database, "run", owner=config.owner, checkout=runtime.identity(config.root))
            try:
                for name in names:
                    try:
                        version = extensions.create_one(config, server, database, name)
                        if name in unlisted:
                            _check_trust(server, database, name)
                        yield name, version
                    except TemplateError as error:
                        yield name, error
            finally:
                admin.drop(database)


def _check_trust(server: Server, database: str, name: str) -> None:
    with connect(server.admin.set(database=database), answer=BUILD) as connection:
        row = connection.execute(
            "SELECT trusted OR NOT superuser FROM pg_available_extension_versions WHERE name = %s AND installed",
            [name],
        ).fetchone()
    if row is not None and not row[0]:
        raise TemplateError(
            f"The extension {name} is not a trusted one, so the role that builds the schema may not create it.",
            hint=f'the admin creates it before the migrations: extensions = ["{name}"] in [tool.greenroom]',
        )
