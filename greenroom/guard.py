"""No engine of the application connects to a database that greenroom did not make.

An application that takes its URL from somewhere else than from the variable that the configuration names would run the
tests on whatever that URL names: a development database, or worse. It is stopped before it connects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Engine, event

from greenroom.errors import RefusedError


def install(*, allowed: Collection[str], variable: str) -> Callable[[], None]:
    """Refuse connections of SQLAlchemy engines of this process to other PostgreSQL databases than these.

    Args:
        allowed: Names of databases, looked up at each connection.
        variable: The environment variable that the application should take its URL from, for the message.

    Returns:
        What takes the guard away again.
    """

    def check(dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        # The arguments hold a password, which pytest would print with this frame.
        __tracebackhide__ = True
        database = parameters.get("database") or parameters.get("dbname")
        if dialect.name != "postgresql" or database in allowed:
            return
        host = parameters.get("host") or "the default host"
        raise RefusedError(
            f"The application was about to connect to the database {database!r} on {host}, which is not this run's. "
            f"It must take its URL from {variable}, which names this run's database.",
            hint="find where that URL comes from (a .env file, a constant?); if the tests do need that database, "
            'name it: other_databases = ["…"] in [tool.greenroom]',
        )

    # For all engines, also those made before: "do_connect" is an event of the dialects.
    event.listen(Engine, "do_connect", check)
    return lambda: event.remove(Engine, "do_connect", check)
