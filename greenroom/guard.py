"""The application connects to the run's own database, and to no other that greenroom did not make.

An application that takes its URL from somewhere else than from the variable that the configuration names would run the
tests on whatever that URL names: a development database, or worse. It is stopped before it connects. SQLAlchemy's
engines are watched; a connection that is made straight with a driver is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import URL, Engine, event
from sqlalchemy.engine import create

from greenroom.errors import RefusedError

_ELSEWHERE: Final = ("service", "servicefile", "hostaddr", "dsn", "conninfo")
"""What drivers take that leads elsewhere than host, port and database say."""


class Guard:
    """Which PostgreSQL databases the engines of this process may connect to.

    Args:
        server: A URL of the run's server. A database of the same name elsewhere is another one.
        names: The databases there that may be connected to. May be changed later.
        others: Names of databases that may be connected to wherever they are.
        variable: The environment variable that the application should take its URL from, for the message.
        before: Called with the name of an allowed database before it is connected to.
    """

    def __init__(
        self,
        server: URL,
        *,
        names: set[str],
        others: tuple[str, ...] = (),
        variable: str,
        before: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.names = names
        self._server = _place(server.host or server.query.get("host"), server.port)
        self._others = others
        self._variable = variable
        self._before = before

    def install(self) -> Callable[[], None]:
        """Watch all engines of this process, also those made before. Returns what ends that."""
        # "do_connect" is an event of the dialects, though it is listened to on engines.
        event.listen(Engine, "do_connect", self._check)
        # The frame of SQLAlchemy's that calls `_check` holds the password, which pytest --showlocals would print.
        create.__dict__["__tracebackhide__"] = _refused
        return lambda: event.remove(Engine, "do_connect", self._check)

    def _check(self, dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        # The arguments hold a password, which pytest would print with this frame.
        __tracebackhide__ = True
        database = parameters.get("database") or parameters.get("dbname")
        if dialect.name != "postgresql" or database in self._others:
            return
        place = _place(parameters.get("host"), parameters.get("port"))
        leads_elsewhere = any(parameters.get(name) for name in _ELSEWHERE)
        if database in self.names and place == self._server and not leads_elsewhere:
            self._before(database)
            return
        raise RefusedError(
            f"The application was about to connect to the database {database!r} on {place[0]}, which is not this run's. "
            f"It must take its URL from {self._variable}, which names this run's database.",
            hint="find where that URL comes from (a .env file, a constant?); if the tests do need that database, "
            'name it: other_databases = ["…"] in [tool.greenroom]',
        )


def _refused(information: Any) -> bool:
    """Whether what pytest shows (its `ExceptionInfo`) is a refusal."""
    return isinstance(information.value, RefusedError)


def _place(host: Any, port: Any) -> tuple[str, int]:
    """A host or a socket's folder, and a port, in one form for each place."""
    host = ",".join(host) if isinstance(host, (list, tuple)) else str(host or "localhost")
    return "localhost" if host in ("127.0.0.1", "::1") else host, int(port or 5432)
