"""The process that Alembic runs in: `python -m greenroom.migrations.child ROOT FD`. It answers one request after another.

The project is imported here, once, and its env.py is run for each request, as Alembic does for each command. A request and its
answer are a line of JSON each, on the socket FD; what migrations print goes elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic.autogenerate import produce_migrations
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import NullPool

from greenroom.config import Config, find
from greenroom.database import revisions
from greenroom.database.alembic_config import alembic_config, configured_url
from greenroom.database.schema import APPLICATION_VARIABLE, URL_VARIABLE
from greenroom.database.skipping import skipping
from greenroom.guard import Guard
from greenroom.migrations.disagreements import lines
from greenroom.migrations.history import empty_downgrade
from greenroom.migrations.lock_watch import LockWatch
from greenroom.places import explained
from greenroom.private.alembic import step

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import Script

_IRREVERSIBLE: Final = re.compile(
    r"irreversible|not reversible|(cannot|can't|can not|not) (be )?(downgrade|revert|reverse|undo|support)",
    re.IGNORECASE,
)

_BACKGROUND: Final = re.compile(r"\n\(Background on this error at: .*?\)")


def main() -> None:
    """Answer requests until the other side closes the socket."""
    config = find(Path(sys.argv[1]))
    url, application = make_url(os.environ.pop(URL_VARIABLE)), make_url(os.environ.pop(APPLICATION_VARIABLE))
    sys.path[:0] = config.import_paths
    # An env.py that takes its URL from somewhere else must not migrate somebody else's database.
    Guard((url, application), names={str(url.database)}, variable=config.database_url).install()
    with (
        socket.socket(fileno=int(sys.argv[2])) as channel,
        channel.makefile("rw", encoding="utf-8") as stream,
        revisions.working_directory(config),
    ):
        child = Child(config, url, application)
        for line in stream:
            answer = child.answer(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


class Child:
    """Runs Alembic on one database.

    Args:
        config: The project.
        url: The database, as the role that owns what is in it.
        application: The same as the application has it.
    """

    def __init__(self, config: Config, url: URL, application: URL) -> None:
        self._config = config
        self._url = configured_url(config, url, application)
        self._engine = create_engine(url, poolclass=NullPool)
        event.listen(self._engine, "before_cursor_execute", skipping(config), retval=True)
        self._seen: set[Engine] = set()
        event.listen(Engine, "engine_connect", lambda connection: self._seen.add(connection.engine))
        self._read: ScriptDirectory | None = None
        self._at: str | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked for. Returns its result, or what went wrong."""
        self._at = None
        try:
            answer: dict[str, Any] = getattr(self, request.pop("do"))(**request)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a migration raises is shown to the user
            return self._failure(error)
        else:
            return answer
        finally:
            for engine in self._seen:
                # The loop that an asynchronous connection belongs to is closed by now; the server ends it.
                engine.dispose(close=not engine.dialect.is_async)
            self._seen.clear()

    def history(self) -> dict[str, Any]:
        """All revisions, and the heads."""
        with self._engine.connect() as connection:
            script = self._script(connection)
            return {
                "heads": sorted(script.get_heads()),
                "revisions": [_revision(script, each) for each in script.walk_revisions()],
            }

    def run(self, *, steps: list[tuple[str, bool]], watch: bool) -> dict[str, Any]:
        """Apply revisions, or take them back, as one command of Alembic does.

        Args:
            steps: The revisions, each with whether it is applied.
            watch: Look at the locks that they take.
        """
        locks = LockWatch()
        table: list[str | None] = []

        def plan(_heads: Any, context: MigrationContext) -> list[Any]:
            table[:] = [context.version_table_schema, context.version_table]
            assert self._read is not None
            return [
                step(self._read, name, up=up, around=self._around(name, locks, watch)) for name, up in steps
            ]

        with locks:
            self._environment(plan, destination_rev=steps[-1][0])
        return {"version_table": table, "locks": locks.taken}

    def compare(self) -> dict[str, Any]:
        """Where the models and the database differ, as `alembic check` sees it."""
        found: dict[str, Any] = {}

        def compared(heads: Any, context: MigrationContext) -> list[Any]:
            metadata = context.opts.get("target_metadata")
            if metadata is None:
                found["none"] = "env.py names no target_metadata"
                return []
            script = produce_migrations(context, metadata)
            scripts = [script]
            if (hook := context.opts.get("process_revision_directives")) is not None:
                hook(context, heads, scripts)
            found["lines"] = [line for each in scripts for line in lines(each.upgrade_ops_list, context)]
            return []

        # As for `alembic revision --autogenerate`, which is what an env.py may ask for.
        self._environment(compared, options=argparse.Namespace(autogenerate=True, sql=False, x=None))
        return found or {"none": "env.py runs no migrations"}

    def _environment(
        self, function: Callable[..., Any], options: argparse.Namespace | None = None, **more: Any
    ) -> None:
        with self._engine.connect() as connection:
            alembic = alembic_config(self._config, self._url, connection)
            alembic.cmd_opts = options
            script = self._script(connection)
            with EnvironmentContext(alembic, script, fn=function, as_sql=False, tag=None, **more):
                script.run_env()

    def _script(self, connection: Connection) -> ScriptDirectory:
        if self._read is None:
            alembic = alembic_config(self._config, self._url, connection)
            self._read = ScriptDirectory.from_config(alembic)
        return self._read

    def _around(
        self, name: str, locks: LockWatch, watch: bool
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def around(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(**options: Any) -> None:
                self._at, locks.on = name, watch
                function(**options)
                self._at, locks.on = None, False

            return call

        return around

    def _failure(self, error: BaseException) -> dict[str, Any]:
        cause = getattr(error, "orig", None)
        said = "it called sys.exit()"
        if not isinstance(error, SystemExit):
            said = _BACKGROUND.sub("", explained(error, self._config.root))
        if self._at is not None:
            # The way through env.py is the same for each revision.
            env = os.path.relpath(revisions.folders(self._config)[0] / "env.py", self._config.root)
            said = "\n".join(line for line in said.splitlines() if not line.startswith(f"{env}:"))
        if os.environ.get("GREENROOM_TRACEBACK"):
            said += "\n" + "".join(traceback.format_exception(error))
        return {
            "error": said,
            "kind": type(error).__name__,
            "sqlstate": getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None),
            "at": self._at,
            "irreversible": isinstance(error, NotImplementedError)
            or (cause is None and bool(_IRREVERSIBLE.search(f"{type(error).__name__} {error}"))),
        }


def _revision(script: ScriptDirectory, found: Script) -> dict[str, Any]:
    def names(value: Any) -> list[str]:
        return [each.revision for each in script.get_revisions(value)] if value else []

    revises = names(found.down_revision)
    there = "there" if hasattr(found.module, "downgrade") else "missing"
    return {
        "name": found.revision,
        "before": [*revises, *names(found.dependencies)],
        "file": found.path,
        "revises": revises,
        "downgrade": "empty" if empty_downgrade(Path(found.path)) else there,
    }


if __name__ == "__main__":
    main()
