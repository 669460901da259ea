"""Build the schema in an empty database: `python -m greenroom.database.schema ROOT`, a process of its own; see `migrate`.

The steps that the configuration names, in this order: `before`, `alembic`, `metadata`, `sql`, `schema_command`,
`schema_at_startup`, `seed`. The engine is a synchronous one, on psycopg.
"""

from __future__ import annotations

import importlib
import json
import operator
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from greenroom.config import Config, find
from greenroom.database import revisions, skipping
from greenroom.errors import GreenroomError, TemplateError
from greenroom.guard import Guard
from greenroom.places import explained
from greenroom.processes import run
from greenroom.signals import end_with_caller

if TYPE_CHECKING:
    import psycopg

URL_VARIABLE: Final = "GREENROOM_MIGRATE_URL"
APPLICATION_VARIABLE: Final = "GREENROOM_MIGRATE_APPLICATION_URL"
DATABASE_VARIABLE: Final = "GREENROOM_MIGRATE_DATABASE"
RESULT_VARIABLE: Final = "GREENROOM_MIGRATE_RESULT"
"""The file that is written when all is done. The exit code alone would not do: a migration may call `sys.exit(0)`."""


def main() -> None:
    """Build the schema in the database that the environment names."""
    end_with_caller()
    config = find(Path(sys.argv[1]))
    config = config.databases.get(os.environ.pop(DATABASE_VARIABLE), config)
    url, application = make_url(os.environ.pop(URL_VARIABLE)), make_url(os.environ.pop(APPLICATION_VARIABLE))
    result = Path(os.environ.pop(RESULT_VARIABLE))
    sys.path[:0] = config.import_paths
    # An env.py that takes its URL from somewhere else must not migrate somebody else's database.
    Guard((url, application), names={str(url.database)}, variable=config.database_url).install()
    try:
        notes = Builder(config, url, application).build()
    except Exception as error:  # noqa: BLE001 - whatever a migration raises is shown to the user
        if os.environ.get("GREENROOM_TRACEBACK"):
            traceback.print_exc()
        sys.exit(str(error) if isinstance(error, GreenroomError) else explained(error, config.root))
    except SystemExit as error:
        print(explained(error, config.root))
        raise
    result.write_text(json.dumps(notes), encoding="utf-8")


class Builder:
    """Builds a project's schema.

    Args:
        config: The project.
        url: The database, as the role that is to own what is in it.
        application: The same as the application has it.
    """

    def __init__(self, config: Config, url: URL, application: URL) -> None:
        self._config = config
        self._url = url
        self._application = application
        self._notes: list[str] = []

    def build(self) -> list[str]:
        """Build it. Returns what the user should know, a line each."""
        config = self._config
        engine = create_engine(self._url, poolclass=NullPool)
        # Of all engines: an env.py may make its own.
        event.listen(Engine, "before_cursor_execute", skipping.skipping(config), retval=True)
        with engine.connect() as connection:
            for path in config.before:
                self._execute(connection, path)
            connection.commit()  # an env.py may have an engine of its own
            if config.alembic is not None:
                self._upgrade(connection)
            if config.metadata:
                # Metadata knows the tables of the models that are imported: here as many as where the application runs.
                importlib.import_module(config.app.partition(":")[0])
            for target in config.metadata:
                _create_all(connection, target)
            for path in config.sql:
                self._execute(connection, path)
            connection.commit()
            if config.schema_command is not None:
                self._run(shlex.split(config.schema_command))
            if config.schema_at_startup:
                self._run([sys.executable, "-m", "greenroom.startup", str(config.root)])
            for path in config.seed:
                self._execute(connection, path)
            connection.commit()
        return self._notes

    def _execute(self, connection: Connection, name: str) -> None:
        path = self._config.root / name
        driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
        try:
            if not connection.in_transaction():
                connection.begin()  # what goes straight to the driver begins none that commit() would know of
            # Straight to the driver: the file may hold many statements, colons and percent signs.
            script = path.read_bytes()
            if self._config.extensions:
                script = skipping.without(self._config, script.decode()).encode()
            driver.execute(script)
        except Exception as error:
            error.add_note(f"in {path}")
            raise

    def _run(self, command: list[str]) -> None:
        """Run a command as the application would be: its programs and its modules are found."""
        environ = dict(os.environ)
        environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
        environ["PYTHONPATH"] = os.pathsep.join(
            [*self._config.import_paths, *filter(None, [environ.get("PYTHONPATH")])]
        )
        code = run(command, environ)
        if code:
            raise TemplateError(f"{shlex.join(command)} ended with exit code {code}.")

    def _upgrade(self, connection: Connection) -> None:
        from alembic import command
        from alembic.config import CommandLine
        from alembic.script import ScriptDirectory

        from greenroom.database.alembic_config import alembic_config, configured_url

        url = configured_url(self._config, self._url, self._application)
        alembic = alembic_config(self._config, url, connection)
        with revisions.working_directory(self._config):
            heads = ScriptDirectory.from_config(alembic).get_heads()
            if len(heads) > 1:
                self._notes.append(
                    f"Alembic has {len(heads)} heads ({', '.join(sorted(heads))}). All are applied here; `alembic upgrade "
                    f"head` refuses them: merge them (alembic merge heads), or deploy with `alembic upgrade heads`"
                )
            # An env.py may ask whether it is an upgrade, in one way or the other, and write what the application needs.
            sys.argv = ["alembic", "upgrade", "heads"]
            alembic.cmd_opts = CommandLine("alembic").parser.parse_args(sys.argv[1:])
            command.upgrade(alembic, "heads")


def _create_all(connection: Connection, target: str) -> None:
    module, _, name = target.partition(":")
    metadata = operator.attrgetter(name)(importlib.import_module(module))
    # `create_all` makes tables, and never their schemas.
    for schema in sorted({table.schema for table in metadata.tables.values() if table.schema}):
        connection.execute(CreateSchema(schema, if_not_exists=True))
    metadata.create_all(connection)


if __name__ == "__main__":
    main()
