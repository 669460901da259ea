"""Which locks a revision takes, looked at after each of its statements, on its own connection."""

from __future__ import annotations

import time
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, event

_LOCKS: Final = """
SELECT relation::bigint, mode FROM pg_locks
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"""
"""The locks that keep others from writing, or from reading as well."""


class LockWatch:
    """Looks at the locks of whatever connection a revision uses. A context manager around the whole of Alembic's command.

    They are held until the end of the transaction: the commit, or else the end of the command.

    Attributes:
        on: A revision runs, and not Alembic's own bookkeeping.
        taken: Each lock that is over: `relation` (its oid), `mode`, `statement`, and `seconds`.
    """

    def __init__(self) -> None:
        self.on = False
        self.taken: list[dict[str, Any]] = []
        self._held: dict[tuple[int, str], dict[str, Any]] = {}
        self._looking = False
        self._began = 0.0
        self._listeners = (
            ("before_cursor_execute", self._before),
            ("after_cursor_execute", self._after),
            ("commit", self._end),
        )

    def __enter__(self) -> Self:
        for name, listener in self._listeners:
            event.listen(Engine, name, listener)
        return self

    def __exit__(self, *_exception: object) -> None:
        for name, listener in self._listeners:
            event.remove(Engine, name, listener)
        self._end()

    def _before(self, *_: Any) -> None:
        if not self._looking:
            self._began = time.perf_counter()

    def _after(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not self.on or self._looking:
            return
        self._looking = True
        try:
            rows = connection.exec_driver_sql(_LOCKS).all()
        finally:
            self._looking = False
        for relation, mode in rows:
            lock = {"relation": relation, "mode": mode, "statement": " ".join(statement.split())}
            self._held.setdefault((relation, mode), lock | {"began": self._began})

    def _end(self, _connection: Connection | None = None) -> None:
        now = time.perf_counter()
        for lock in self._held.values():
            began = lock.pop("began")
            self.taken.append(lock | {"seconds": now - began})
        self._held.clear()
