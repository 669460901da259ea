"""Lazy loads on the application's side are forbidden, also where they would work.

In asynchronous code a lazy load raises `MissingGreenlet`. Inside of `run_sync`, or with a synchronous session in a thread, it
works, until the same line is reached from elsewhere. With `lazy_loads = "fail"` it fails everywhere but in the test's own
sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import Session
from sqlalchemy.util.concurrency import in_greenlet

from greenroom.watch.attributes import Read, origin
from greenroom.watch.errors import LazyLoadError, told
from greenroom.watch.frames import Line, frames
from greenroom.watch.requests import in_application

if TYPE_CHECKING:
    from sqlalchemy.orm import ORMExecuteState

    from greenroom.watch.current import Current
    from greenroom.watch.findings import Findings


class LazyLoads:
    """Stops lazy loads.

    Args:
        current: Knows whether the test forbids them.
        findings: Where what is raised is noted.
    """

    def __init__(self, current: Current, findings: Findings) -> None:
        self._current = current
        self._findings = findings

    def install(self) -> Callable[[], None]:
        """Watch all sessions of this process. Returns what ends that."""
        event.listen(Session, "do_orm_execute", self._look)
        return lambda: event.remove(Session, "do_orm_execute", self._look)

    def _look(self, state: ORMExecuteState) -> None:
        __tracebackhide__ = True
        if self._current.lazy_loads != "fail" or not (state.is_relationship_load or state.is_column_load):
            return
        bind: Any = state.session.get_bind(**state.bind_arguments)
        if bind.dialect.is_async:
            if not in_greenlet():
                # It raises MissingGreenlet, as it does in production.
                return
        elif not in_application() or bind.engine is self._current.engine:
            # The test's own.
            return
        found = origin(frames())
        # Without an attribute that is read it is a refresh(), an option such as selectinload(), or a flush.
        if found.read is None or found.read.awaited:
            return
        error = LazyLoadError(_explained(found.read, found.line))
        self._findings.add(error)
        raise error


def _explained(read: Read, line: Line | None) -> str:
    where = str(line) if line else "no line of the project's own: where a response is made of the model"
    if read.relationship:
        kind = "a relationship that was not loaded"
    elif read.expired:
        kind = "an attribute that has expired"
    elif read.void:
        kind = "a value that was not loaded, or that the last flush has made void"
    else:
        kind = "a deferred column"
    name = read.model.lower()
    if read.relationship:
        first = (
            "load it with the query that loads the object:",
            f"select({read.model}).options(selectinload({read.name}))",
        )
    elif read.expired:
        first = (
            "keep what is loaded after a commit:",
            "async_sessionmaker(engine, expire_on_commit=False)",
        )
    else:
        first = (
            "load it with the query that loads the object:",
            f"select({read.model}).options(undefer({read.name}))",
        )
    refresh = (
        "load it where that can be awaited:",
        f'await session.refresh({name}, attribute_names=["{read.key}"])',
    )
    return told(
        f"`{read.name}` was loaded lazily: {kind}.\n{where}",
        'It works here, since a greenlet or a thread may wait for the database. In a coroutine the same line raises MissingGreenlet. lazy_loads = "fail" '
        "in [tool.greenroom] forbids both.",
        [refresh] if read.void else [first, (f"or {refresh[0]}", refresh[1])],
        "docs/faq.md#lazy-load",
    )
