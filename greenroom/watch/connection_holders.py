"""Who holds the connections of a pool: what is needed to know when a pool has none left.

A checkout notes the line of the user's own code, the task and the test: a walk over some thirty frames, without formatting
anything.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import time
import weakref
from asyncio.events import _get_running_loop
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.pool import Pool

from greenroom.diagnosis.frames import Line, users_line
from greenroom.private.sqlalchemy import pool_of
from greenroom.watch.current import listen

if TYPE_CHECKING:
    from greenroom.watch.current import Current


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """Who has taken a connection from a pool and has not given it back.

    Attributes:
        line: The line of the user's own code that took it; None if that was no line of theirs.
        test: The test that ran then; empty outside of tests.
        task: The name of the asyncio task; empty if it was none. That of a request is such as `GET /customers`.
        ended: The task has ended and the connection is still out: it was forgotten, not merely slow.
        seconds: For how long.
    """

    line: Line | None
    test: str
    task: str
    ended: bool
    seconds: float

    def __str__(self) -> str:
        parts = [
            str(self.line) if self.line else "a line that is not the project's",
            f"for {self.seconds:.1f} s",
        ]
        if self.task:
            parts.append(f"in the task {self.task!r}" + (", which has ended" if self.ended else ""))
        if self.test:
            parts.append(f"during {self.test}")
        return ", ".join(parts)


_KEY: Final = "greenroom.taken"
"""In the `info` of a pool's record of a connection that is taken: the line, the test, the task, its name, and when."""

_RECORDS: Final[weakref.WeakKeyDictionary[Any, None]] = weakref.WeakKeyDictionary()
"""The records of all pools."""


_RETURNED: Final[collections.deque[tuple[int, Any, float]]] = collections.deque(maxlen=100)
"""What was given back last: the pool's id, what was noted of the connection, and when."""

_RECENTLY: Final = 30
"""Seconds from a failure to its report, at most: blocks that close things, the teardown of a loop."""


def holders(pool: Pool, *, waited: float | None = None) -> list[Holder]:
    """Who holds connections of this pool, the longest first. Empty where the pools are not watched.

    Args:
        pool: The pool.
        waited: Somebody has waited so many seconds for a connection, in vain, and who held one then may have given it
            back since: those that held theirs for as long are named, too.
    """
    now = time.perf_counter()
    found = _taken(pool)
    if waited is not None:
        for its_pool, taken, returned in list(_RETURNED):
            if its_pool == id(pool) and now - returned < _RECENTLY:
                holder = _holder(taken, until=returned)
                if holder.seconds >= waited:
                    # The block has closed what its task then left: it was not forgotten.
                    found.append(dataclasses.replace(holder, ended=False))
    return sorted(found, key=lambda holder: -holder.seconds)


def all_holders() -> list[Holder]:
    """Who holds a connection of any pool, the longest first. Empty where the pools are not watched."""
    return sorted(_taken(), key=lambda holder: -holder.seconds)


def _taken(pool: Pool | None = None) -> list[Holder]:
    """Who holds a connection of this pool, or of any."""
    now = time.perf_counter()
    found = []
    # The references are listed at once: the application may connect meanwhile.
    for reference in _RECORDS.keyrefs():
        record = reference()
        taken = record.info.get(_KEY) if record is not None and record.in_use else None
        if taken is not None and (pool is None or pool_of(record) is pool):
            found.append(_holder(taken, until=now))
    return found


def _holder(taken: Any, *, until: float) -> Holder:
    line, test, task, name, since = taken
    alive = task() if task else None
    ended = task is not None and (alive is None or alive.done())
    return Holder(line, test, name, ended, until - since)


def note_holders(current: Current, undo: ExitStack) -> None:
    """Note who takes connections from the pools of this process, until this is undone.

    Args:
        current: Knows the test that runs.
        undo: What ends it.
    """

    def taken(_connection: Any, record: Any, _proxy: Any) -> None:
        task = asyncio.current_task() if _get_running_loop() is not None else None
        record.info[_KEY] = (
            users_line(),
            current.test,
            weakref.ref(task) if task else None,
            task.get_name() if task else "",
            time.perf_counter(),
        )

    undo.callback(_RETURNED.clear)
    listen(Pool, "connect", _made, undo)
    listen(Pool, "checkout", taken, undo)
    listen(Pool, "checkin", _given_back, undo)


def _made(_connection: Any, record: Any) -> None:
    _RECORDS[record] = None


def _given_back(_connection: Any, record: Any) -> None:
    if (taken := record.info.pop(_KEY, None)) is not None:
        _RETURNED.append((id(pool_of(record)), taken, time.perf_counter()))
