"""Lazy loads on the application's side are forbidden, also where they would work.

In asynchronous code a lazy load raises `MissingGreenlet`. Inside of `run_sync`, or with a synchronous session in a thread, it
works, until the same line is reached from elsewhere. With `lazy_loads = "fail"` it fails everywhere but in the test's own
sessions.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError

from greenroom.diagnosis import fixes
from greenroom.diagnosis.attributes import Read
from greenroom.diagnosis.exceptions import chain
from greenroom.diagnosis.explanation import Explanation
from greenroom.diagnosis.frames import Line, frames
from greenroom.private.sqlalchemy import in_greenlet
from greenroom.watch.causes import NO_LINE, cause_of
from greenroom.watch.current import listen
from greenroom.watch.findings import LazyLoadError
from greenroom.watch.scopes import in_application

if TYPE_CHECKING:
    from sqlalchemy.orm import ORMExecuteState

    from greenroom.watch.current import Current
    from greenroom.watch.findings import Findings
    from greenroom.watch.known import Known

KIND: Final = "lazy_loads"


def stop_lazy_loads(current: Current, findings: Findings, known: Known, undo: ExitStack) -> None:
    """Watch all sessions of this process, until this is undone.

    Args:
        current: Knows whether the test forbids lazy loads.
        findings: Where what is raised is noted.
        known: Those that are known do not fail.
        undo: What ends it.
    """

    def look(state: ORMExecuteState) -> None:
        __tracebackhide__ = True
        if current.lazy_loads != "fail" or not (state.is_relationship_load or state.is_column_load):
            return
        bind: Any = state.session.get_bind(**state.bind_arguments)
        if bind.dialect.is_async:
            if not in_greenlet():
                # It raises MissingGreenlet, as it does in production.
                return
        elif not in_application() or bind.engine is current.engine:
            # The test's own.
            return
        cause = cause_of(frames())
        # Without an attribute that is read it is a refresh(), an option such as selectinload(), or a flush.
        if cause.read is None or cause.read.awaited:
            return
        explanation = _explanation(cause.read, cause.line)
        title, attribute = explanation.title, cause.read.name
        if known.note([known.found(KIND, cause.lines, title, current.test, attribute=attribute)]):
            return
        error = LazyLoadError(explanation.render())
        findings.add(error)
        raise error

    listen(Session, "do_orm_execute", look, undo)


def may_be_load(error: BaseException) -> bool:
    """Whether an error, or one behind it, is of the kinds that a lazy load fails with. Its explanation tells whether it is one."""
    kinds = (MissingGreenlet, DetachedInstanceError)
    return any(isinstance(each, kinds) for each in chain(error, expected=False))


def _explanation(read: Read, line: Line | None) -> Explanation:
    refresh = fixes.refresh(read, "load it where that can be awaited:")
    return Explanation(
        f"`{read.name}` was loaded lazily: {read.condition}",
        "",
        "It works here, since a greenlet or a thread may wait for the database. In a coroutine the same line raises "
        'MissingGreenlet. lazy_loads = "fail" in [tool.greenroom] forbids both.',
        [refresh] if read.why == "void" else [fixes.beforehand(read), (f"or {refresh[0]}", refresh[1])],
        "lazy-load",
        evidence=str(line or NO_LINE),
    )
