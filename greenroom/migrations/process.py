"""The other side of `child`: starts the process, asks it, and says what went wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from greenroom.database.schema import APPLICATION_VARIABLE, URL_VARIABLE
from greenroom.errors import TemplateError
from greenroom.migrations.history import History, Revision
from greenroom.places import indented
from greenroom.processes import begins

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config


class MigrationError(Exception):
    """What a revision, or env.py, has raised.

    Attributes:
        said: The places in the project's own files, and the error.
        kind: The class of the error.
        sqlstate: PostgreSQL's code for it, if it comes from there.
        at: The revision that was running, if one was.
        irreversible: A downgrade has raised it to say that there is none.
    """

    def __init__(
        self, said: str, *, kind: str, sqlstate: str | None, at: str | None, irreversible: bool
    ) -> None:
        super().__init__(said)
        self.said = said
        self.kind = kind
        self.sqlstate = sqlstate
        self.at = at
        self.irreversible = irreversible

    def saying(self, first: str) -> Self:
        """The same, with a line before what it says, in the place of the revision."""
        return type(self)(
            f"{first}\n{self.said}",
            kind=self.kind,
            sqlstate=self.sqlstate,
            at=None,
            irreversible=self.irreversible,
        )


class Process:
    """A process that runs Alembic on one database, which need not be there yet. Closed with `close`.

    Args:
        config: The project.
        url: The database, as the role that owns what is in it, for psycopg.
        application: The same as the application has it.

    Attributes:
        version_table: The table in which Alembic keeps the version: its schema, if it is named, and its name.
    """

    def __init__(self, config: Config, url: URL, application: URL) -> None:
        self.version_table: tuple[str | None, str] = (None, "alembic_version")
        self._seconds = config.migration_timeout or None
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        ours, theirs = socket.socketpair()
        environ = os.environ | config.environment_for(application)
        environ[URL_VARIABLE] = url.render_as_string(hide_password=False)
        environ[APPLICATION_VARIABLE] = application.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "greenroom.migrations.child", str(config.root), str(theirs.fileno())]
        begins(command)
        with theirs:
            self._process = subprocess.Popen(
                command, cwd=config.root, env=environ, pass_fds=[theirs.fileno()], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=self._printed, stderr=subprocess.STDOUT,
            )  # fmt: skip
        ours.settimeout(self._seconds)
        self._channel = ours
        self._stream = ours.makefile("rw", encoding="utf-8")

    def history(self) -> tuple[History, list[str]]:
        """All revisions, and the heads.

        Raises:
            MigrationError: Alembic cannot read them.
        """
        answer = self._ask("history")
        found = [
            Revision(**each | {"before": tuple(each["before"]), "revises": tuple(each["revises"])})
            for each in answer["revisions"]
        ]
        return History(found), answer["heads"]

    def run(self, steps: Iterable[tuple[str, bool]], *, watch: bool = False) -> list[dict[str, Any]]:
        """Apply revisions, or take them back, as one command of Alembic does. Returns their locks, as `LockWatch.taken`.

        Args:
            steps: The revisions, each with whether it is applied.
            watch: Look at the locks that they take.

        Raises:
            MigrationError: One of them has failed.
        """
        answer = self._ask("run", steps=list(steps), watch=watch)
        if not answer["version_table"]:
            raise MigrationError(
                "env.py runs no migrations: it does not call context.run_migrations().",
                kind="", sqlstate=None, at=None, irreversible=False,
            )  # fmt: skip
        schema, name = answer["version_table"]
        self.version_table = schema, name
        locks: list[dict[str, Any]] = answer["locks"]
        return locks

    def compare(self) -> tuple[list[str], str | None]:
        """Where the models and the database differ, a line each; and why they cannot be compared, if so.

        Raises:
            MigrationError: env.py, or the comparison, has failed.
        """
        answer = self._ask("compare")
        return answer.get("lines", []), answer.get("none")

    def close(self) -> None:
        """End the process."""
        self._stream.close()
        self._channel.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._printed.close()

    def _ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        try:
            self._stream.write(json.dumps({"do": what} | arguments) + "\n")
            self._stream.flush()
            line = self._stream.readline()
        except TimeoutError:
            self._process.kill()
            raise TemplateError(
                f"The migrations did not end within {self._seconds} s.\n{self._output()}".rstrip(),
                hint="if they may take longer: migration_timeout = 3600 in [tool.greenroom]; 0 waits without an end",
            ) from None
        except OSError:
            line = ""
        if not line:
            code = self._process.wait(10)
            raise TemplateError(
                f"The process that runs the migrations has ended (exit code {code}).\n{self._output()}".rstrip(),
                hint="a migration must not end its process",
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise MigrationError(answer.pop("error"), **answer)
        return answer

    def _output(self) -> str:
        self._printed.seek(0)
        return indented(self._printed.read().decode(errors="replace"))
