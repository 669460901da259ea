"""The application connects to the run's own database, and to no other that greenroom did not make.

An application that takes its URL from somewhere else than from the variable that the configuration names would run the
tests on whatever that URL names: a development database, or worse. It is stopped before it connects. Where it is plain that
a test database is meant (a conftest has set the variable itself, or the name says so), the connection is led to the run's
server instead. SQLAlchemy's engines are watched; a connection that is made straight with a driver is not seen.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.exc import ArgumentError

from greenroom.diagnosis.frames import Line, users_line
from greenroom.errors import RefusedError
from greenroom.private.sqlalchemy import hide_connecting

ON_RUNS_SERVER: Final = "greenroom_on_runs_server"
"""The key in the `info` of a connection that leads to the run's server."""

MAINTENANCE: Final = ("postgres", "template1")
"""Where a statement such as CREATE DATABASE is sent."""

_TESTS: Final = re.compile(r"[/\\](?:tests?[/\\]|conftest\.py$|test_[^/\\]*\.py$|[^/\\]*_test\.py$)")
"""Files of tests."""

_ELSEWHERE: Final = ("service", "servicefile", "hostaddr", "dsn", "conninfo")
"""Driver options that override the host, port and database."""


_ENCRYPTION: Final = ("ssl", "sslmode", "sslrootcert", "sslcert", "sslkey")
"""Driver options that another server may need, and that the run's does not have."""

_TITLES: Final = {
    "sqlite": "SQLite",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "oracle": "Oracle",
    "mssql": "SQL Server",
}


class Guard:
    """Which PostgreSQL databases the engines of this process may connect to.

    Args:
        server: URLs of the run's server, one for each place where it listens. A database of the same name elsewhere is
            another one.
        names: The databases there that may be connected to. May be changed later.
        others: Names of databases that may be connected to wherever they are.
        variable: The environment variable that the application should take its URL from, for the message.
        before: Called with the name of a database on the server before it is connected to.
        suites: Called with the name of another database. Returns the one on the run's server that it stands for, if any.
        own: The run's own database, as the application has it; without it, no connection is led anywhere.
        roles: The roles that the configuration names. A connection as another one that is led becomes the application's.

    Attributes:
        elsewhere: The databases other than PostgreSQL that were connected to, each with the user's line that did it.
        led: The databases elsewhere from which connections were led to the run's server, each with the user's line.
    """

    def __init__(
        self,
        server: Iterable[URL],
        *,
        names: set[str],
        others: tuple[str, ...] = (),
        variable: str,
        before: Callable[[str], None] = lambda _name: None,
        suites: Callable[[str], str | None] = lambda _name: None,
        own: URL | None = None,
        roles: Collection[str] = (),
    ) -> None:
        self.names = names
        self.elsewhere: dict[str, Line | None] = {}
        self.led: dict[str, Line | None] = {}
        self._server = {
            _place(url.host or url.query.get("host"), url.port or url.query.get("port")) for url in server
        }
        self._others = others
        self._variable = variable
        self._before = before
        self._suites = suites
        self._own = own
        self._roles = roles

    def install(self) -> Callable[[], None]:
        """Watch all engines of this process, including existing ones. Returns a function that ends this."""
        # "do_connect" is an event of the dialects, though it is listened to on engines.
        event.listen(Engine, "do_connect", self._check)
        # The frame of SQLAlchemy's that calls `_check` holds the password, which pytest --showlocals would print.
        hide_connecting(_refused)
        return lambda: event.remove(Engine, "do_connect", self._check)

    def _check(self, dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
        # The arguments hold a password, which pytest would print with this frame.
        __tracebackhide__ = True
        key = "database" if parameters.get("database") else "dbname"
        database = parameters.get(key)
        if dialect.name != "postgresql":
            # SQLite's file is an argument. Those of other drivers may hold a password.
            database = str((next(iter(arguments), "") if dialect.name == "sqlite" else database) or "")
            if {database, Path(database).name} & {*self._others}:
                return
            name = " ".join(filter(None, (_TITLES.get(dialect.name, dialect.name), database)))
            if name not in self.elsewhere:
                self.elsewhere[name] = users_line()
            return
        if database in self._others:
            return
        # As the drivers do, which take a port that they are not told from there.
        place = _place(parameters.get("host"), parameters.get("port") or os.environ.get("PGPORT"))
        leads_elsewhere = any(parameters.get(name) for name in _ELSEWHERE)
        if database and not leads_elsewhere and (real := self._real(database, place)) is not None:
            self._before(real)
            if place not in self._server or (database != real and parameters.get("user") not in self._roles):
                self._lead(parameters, f"{database} on {place[0]}:{place[1]}")
            parameters[key] = real
            if record is not None:
                record.info[ON_RUNS_SERVER] = True
            return
        raise RefusedError(
            f"The application was about to connect to the database {database!r} on {place[0]}, which is not this run's. "
            f"It must take its URL from {self._variable}, which names this run's database.",
            hint="find where that URL comes from (a .env file, a constant?); if the tests do need that database, "
            'name it: other_databases = ["…"] in [tool.greenroom]',
        )

    def _real(self, database: str, place: tuple[str, int]) -> str | None:
        """The database on the run's server that is meant by another one, if any is."""
        if place in self._server:
            return database if database in self.names else self._suites(database)
        if self._own is None:
            return None
        # A conftest or a file that has set the variable over what the run set.
        with contextlib.suppress(ArgumentError):
            now = make_url(os.environ.get(self._variable, ""))
            if (now.database, _place(now.host, now.port)) == (database, place):
                return self._own.database
        return None if database in MAINTENANCE and not _in_tests(users_line()) else self._suites(database)

    def _lead(self, parameters: dict[str, Any], where: str) -> None:
        """Have a connection lead to the run's server, as the application's role."""
        assert self._own is not None
        self.led.setdefault(where, users_line())
        for name in _ENCRYPTION:
            parameters.pop(name, None)
        parameters["host"] = self._own.host or self._own.query.get("host")
        parameters["port"] = self._own.port or self._own.query.get("port")
        parameters["user"], parameters["password"] = self._own.username, self._own.password


def _in_tests(line: Line | None) -> bool:
    return line is not None and bool(_TESTS.search(line.file))


def _refused(information: Any) -> bool:
    """Return whether the exception that pytest shows (its `ExceptionInfo`) is a refusal."""
    return isinstance(information.value, RefusedError)


def _place(host: Any, port: Any) -> tuple[str, int]:
    """A host or a socket's folder, and a port, in one form for each place."""
    host = ",".join(host) if isinstance(host, (list, tuple)) else str(host or "localhost")
    return "localhost" if host in ("127.0.0.1", "::1") else host, int(port or 5432)
