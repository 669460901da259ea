"""Who holds the connections of a pool: what is needed to know when a pool has none left.

A checkout notes the line of the user's own code, the task and the test: a walk over some thirty frames, without formatting
anything.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event
from sqlalchemy.pool import Pool

from greenroom.watch.frames import Line, users_line

if TYPE_CHECKING:
    from greenroom.watch.current import Current


@dataclass(frozen=True, slots=True)
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


@dataclass(slots=True)
class _Taken:
    """What is noted of a checkout; what it means is worked out when somebody asks."""

    pool: Any
    line: Line | None
    test: str
    task: weakref.ref[asyncio.Task[Any]] | None
    name: str
    since: float


_TAKEN: Final[weakref.WeakKeyDictionary[Any, _Taken]] = weakref.WeakKeyDictionary()
"""By the pool's record of the connection."""


_RETURNED: Final[collections.deque[tuple[_Taken, float]]] = collections.deque(maxlen=100)
"""What was given back last, and when."""

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
    found = []
    for record, taken in list(_TAKEN.items()):
        if taken.pool() is pool and record.in_use:
            task = taken.task() if taken.task else None
            ended = taken.task is not None and (task is None or task.done())
            found.append(Holder(taken.line, taken.test, taken.name, ended, now - taken.since))
    if waited is not None:
        for taken, returned in _RETURNED:
            held = returned - taken.since
            if taken.pool() is pool and held >= waited and now - returned < _RECENTLY:
                found.append(Holder(taken.line, taken.test, taken.name, ended=False, seconds=held))
    return sorted(found, key=lambda holder: -holder.seconds)


class Holding:
    """Notes who takes connections.

    Args:
        current: Knows the test that runs.
    """

    def __init__(self, current: Current) -> None:
        self._current = current

    def install(self) -> Callable[[], None]:
        """Watch all pools of this process. Returns what ends that."""
        event.listen(Pool, "checkout", self._taken)
        event.listen(Pool, "checkin", self._given_back)

        def undo() -> None:
            event.remove(Pool, "checkout", self._taken)
            event.remove(Pool, "checkin", self._given_back)
            _TAKEN.clear()
            _RETURNED.clear()

        return undo

    def _taken(self, _connection: Any, record: Any, proxy: Any) -> None:
        task = None
        # No loop runs in this thread: a synchronous engine.
        with contextlib.suppress(RuntimeError):
            task = asyncio.current_task()
        _TAKEN[record] = _Taken(
            weakref.ref(proxy._pool),  # noqa: SLF001 - the record hides its pool still better
            users_line(),
            self._current.test,
            weakref.ref(task) if task else None,
            task.get_name() if task else "",
            time.perf_counter(),
        )

    @staticmethod
    def _given_back(_connection: Any, record: Any) -> None:
        if (taken := _TAKEN.pop(record, None)) is not None:
            _RETURNED.append((taken, time.perf_counter()))
