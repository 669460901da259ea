"""The databases that a suite makes itself, as many a conftest does: `CREATE DATABASE test_shop`.

The application's role may not make any, and two workers would make one of the same name. So greenroom makes it in the
place of the suite, on the run's server, under a name of this process's own: it is marked, nobody else sees it, and it is
dropped at the end. The suite goes on to use its own name: in what it connects to, and in what it asks `pg_database`.

A statement is seen where SQLAlchemy sends it. One that is sent straight with a driver reaches the server as it is.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import Engine, event

from greenroom import runtime
from greenroom.connection import CONNECT
from greenroom.database import extensions
from greenroom.database.admin import Admin
from greenroom.guard import MAINTENANCE, ON_RUNS_SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenroom.config import Config
    from greenroom.database.worker import WorkerDatabase
    from greenroom.servers import Server

_NAME: Final = r'("(?:[^"]|"")+"|[\w$]+)'
_CREATE: Final = re.compile(rf"\s*CREATE\s+DATABASE\s+{_NAME}(.*?);?\s*", re.IGNORECASE | re.DOTALL)
_TEMPLATE: Final = re.compile(rf"\bTEMPLATE\s*=?\s*{_NAME}", re.IGNORECASE)
_DROP: Final = re.compile(
    rf"\s*DROP\s+DATABASE\s+(IF\s+EXISTS\s+)?{_NAME}(?:\s+(?:WITH\s*)?\(\s*FORCE\s*\))?\s*;?\s*",
    re.IGNORECASE,
)
_ASKS: Final = re.compile(r"\b(?:pg_database|datname)\b", re.IGNORECASE)

_SELECT: Final = re.compile(r"\s*SELECT\b", re.IGNORECASE)
_OWN_SESSIONS: Final = "WITH pg_stat_activity AS (SELECT * FROM pg_catalog.pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid())"
"""Takes the place of the view in a statement: the server refuses to end a session of the admin, and the suite means another database than the
one that it is connected to."""

_DONE: Final = "SELECT"
"""What is sent in the place of a statement that greenroom has carried out: it has no rows, as that one."""


class SuiteDatabases:
    """Makes, finds and drops the databases that the tests of one process name themselves.

    Args:
        config: The project.
        server: The server, not necessarily started.
        own: This process's own database, whose server and template they share.

    Attributes:
        ever: All that there were, as the suite calls them, each with how it came to be there.
    """

    def __init__(self, config: Config, server: Server, own: WorkerDatabase) -> None:
        self.ever: dict[str, str] = {}
        self._config = config
        self._server = server
        self._own = own
        self._names: dict[str, str] = {}
        self._made: set[str] = set()
        self._admin: Admin | None = None
        self._lock = threading.RLock()

    def install(self) -> Callable[[], None]:
        """Watch the statements of all engines of this process. Returns a function that ends this."""
        event.listen(Engine, "before_cursor_execute", self._statement, retval=True)
        return lambda: event.remove(Engine, "before_cursor_execute", self._statement)

    def connected(self, name: str) -> str | None:
        """Which database stands behind a name that something connects to; None if none does.

        One whose name says that it is for tests, and that nothing has made, is made as a clone of the template: many a
        project expects a developer to have made it by hand.
        """
        if name in MAINTENANCE:
            # What follows is seen as it is sent, so any database will do.
            return self._own.name
        # A URL with a database, to which a conftest has added its own.
        name = name.removeprefix(f"{self._own.name}/")
        with self._lock:
            if name in self._names.values():
                return name
            if name not in self._names:
                if "test" not in name.lower():
                    return None
                self._create(name, self._own.template, owner=self._config.owner)
                self.ever[name] = "a clone of the template, since nothing had made it"
            return self._names[name]

    def close(self) -> None:
        """Drop what is still there, unless it goes away with its server anyway."""
        if self._admin is None:
            return
        self._admin.answer = CONNECT
        if not self._server.disposable:
            for name in self._names.values():
                self._admin.drop(name)
        self._admin.close()

    # -- statements --------------------------------------------------------------------------------------------------

    def _statement(
        self, connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        """Carry a statement about a database out, or have one that asks for databases find those of the suite."""
        if connection.dialect.name != "postgresql" or ON_RUNS_SERVER not in connection.info:
            return statement, parameters
        if found := _CREATE.fullmatch(statement):
            return self._created(_plain(found[1]), found[2]), parameters
        if found := _DROP.fullmatch(statement):
            return self._dropped(_plain(found[2]), always=bool(found[1])), parameters
        if _ASKS.search(statement):
            return self._asked(statement, parameters)
        return statement, parameters

    def _created(self, name: str, options: str) -> str:
        if name == self._own.name:
            return _DONE
        with self._lock:
            if name in self._made:
                # As the server says it: the suite may handle that.
                return _raising("duplicate_database", f'database "{name}" already exists')
            asked = _TEMPLATE.search(options)
            source = self._names.get(_plain(asked[1])) if asked else None
            try:
                self._create(name, source, owner=self._config.role)
            except psycopg.Error as error:
                return _raising(f"SQLSTATE '{error.sqlstate}'", " ".join(str(error).split()))
            self._made.add(name)
            self.ever[name] = "made by the suite"
        return _DONE

    def _dropped(self, name: str, *, always: bool) -> str:
        if name == self._own.name:
            # A suite whose settings name it makes it afresh. It is: what is in it is rewound, and goes away at the end.
            return _DONE
        with self._lock:
            real = self._names.get(name, "")
            if self._admin is not None and self._admin.find(real) is not None:
                self._admin.drop(real)
                self._made.discard(name)
            elif not always:
                return _raising("invalid_catalog_name", f'database "{name}" does not exist')
        return _DONE

    def _asked(self, statement: str, parameters: Any) -> tuple[str, Any]:
        """Have a question for databases find those of the suite, and one that ends connections not reach greenroom's."""
        if "pg_terminate_backend" in statement and _SELECT.match(statement):
            statement = f"{_OWN_SESSIONS} {statement}"
        for name, real in self._names.items():
            statement = statement.replace(f"'{name}'", f"'{real}'")
        if isinstance(parameters, dict):
            return statement, {key: self._real(value) for key, value in parameters.items()}
        return statement, type(parameters)(map(self._real, parameters))

    def _real(self, value: Any) -> Any:
        return self._names.get(value, value) if isinstance(value, str) else value

    # -- databases ---------------------------------------------------------------------------------------------------

    def _create(self, name: str, source: str | None, *, owner: str) -> None:
        """Make a database in the place of one that may be there, and hold it, so that nobody sweeps it.

        Args:
            name: Its name, as the suite calls it.
            source: What it is a clone of; None for nothing.
            owner: The role that owns it.
        """
        self._own.open()
        if self._admin is None:
            self._admin = Admin(self._server.admin)
        # A name has 63 characters at most; the number tells apart those that look alike.
        plain = re.sub(r"[^a-z0-9_]", "_", name.lower())[:20]
        real = self._names.setdefault(name, f"{self._own.name}_{len(self._names)}_{plain}")
        self._admin.hold(real)
        self._admin.drop(real)
        self._admin.create(
            real,
            "run",
            owner=owner,
            checkout=runtime.identity(self._config.root),
            template=source,
        )
        extensions.create(self._config, self._server, real)


def _plain(identifier: str) -> str:
    """A name as the server keeps it."""
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier.lower()


def _raising(condition: str, message: str) -> str:
    """A statement that fails as the server would have failed."""
    text = message.replace("'", "''")
    return f"DO $greenroom$ BEGIN RAISE {condition} USING MESSAGE = '{text}'; END $greenroom$"
