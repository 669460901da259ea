"""The extensions of a database: bringing and creating them, as the admin, and what is said where one is not there."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from greenroom.connection import BUILD, connect
from greenroom.database import elsewhere, fingerprint
from greenroom.errors import TemplateError
from greenroom.servers import programs

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.servers import Server

CREATED: Final = re.compile(
    r"CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?[\"'\\]*([A-Za-z][\w-]*)[\"'\\]*"
    r"(?:\s+(?:WITH\s+)?SCHEMA\s+[\"\\]*([A-Za-z_]\w*))?",
    re.IGNORECASE,
)
"""A statement in a migration or a script: the extension, and the schema that it names."""

MISSING: Final = re.compile(
    r'extension "([^"]+)" is not available|extension control file ".*/([^/"]+)\.control"|'
    r'could not load library ".*/([^/"]+?)(?:-\d+)?\.(?:so|dylib)"'
)
"""How a server says that it lacks an extension, or that it cannot load one."""


def create(config: Config, server: Server, database: str) -> None:
    """Create the extensions that the configuration names, as the admin: the application's role may not.

    What the project's own files create is brought, too, as far as it is somewhere: the owner may create trusted ones.

    Raises:
        TemplateError: One is not there, or cannot be created.
    """
    server.provide([*config.extension_names, *asked(config)])
    for name in config.extensions:
        create_one(config, server, database, name)


def create_one(config: Config, server: Server, database: str, extension: str) -> str:
    """Create one extension, and those that it requires. Returns its version.

    Args:
        config: The project.
        server: The server, which runs.
        database: The database's name.
        extension: Its name, after `schema.` if it is to be in a schema.

    Raises:
        TemplateError: It is not there, or cannot be created.
    """
    schema, _, name = extension.rpartition(".")
    statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name))
    with connect(server.admin.set(database=database), answer=BUILD, autocommit=True) as connection:
        if schema:
            connection.execute(
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                    sql.Identifier(schema), sql.Identifier(config.owner)
                )
            )
            statement += sql.SQL(" SCHEMA {}").format(sql.Identifier(schema))
        try:
            connection.execute(statement + sql.SQL(" CASCADE"))
        except psycopg.Error as error:
            said = (error.diag.message_primary or str(error)).strip()
            raise TemplateError(
                f"The extension {name} cannot be created: {said}.",
                hint=helps(config, server, said, name=name),
            ) from None
        row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = %s", [name]).fetchone()
    assert row is not None
    return str(row[0])


def helps(config: Config, server: Server, said: str, *, name: str = "") -> str | None:
    """What helps against an error about an extension, or None if there is nothing to say.

    Args:
        config: The project.
        server: The server, which runs.
        said: What the server, or a migration, has said.
        name: The extension, if it is known; otherwise the error names it.
    """
    if preloaded := re.search(r"(\w+) (?:can only|must) be loaded via \"?shared_preload_libraries", said):
        return (
            f"a server that loads {preloaded[1]} when it starts (shared_preload_libraries), "
            f"whose URL {config.server_url} names"
        )
    found = MISSING.search(said)
    if found is None:
        return None
    name = name or next(filter(None, found.groups()))
    kind = os.environ.get("GREENROOM_INSIDE") or server.kind
    with connect(server.admin) as connection:
        major = connection.info.server_version // 10000
    ways = elsewhere.ways(config, name, kind=kind, major=major)
    names = [*config.extension_names, name]
    if (
        kind == "embedded"
        and name not in config.extension_names
        and not elsewhere.lacking(names, config.postgres)
    ):
        chosen = programs.choose(config.postgres, names)
        ways = [
            f'extensions = ["{name}"] in [tool.greenroom]: then {chosen} is used, which has it',
            *ways[:1],
        ]
    return f"for {name}: " + "; or ".join(ways)


def asked(config: Config) -> list[str]:
    """The extensions that the files which build the schema create, each once."""
    found: dict[str, None] = {}
    for path in fingerprint.files(config):
        text = path.read_text(encoding="utf-8", errors="replace")
        found |= dict.fromkeys(match[1] for match in CREATED.finditer(text))
    return list(found)
