"""Errors that the application raised and caught itself, kept until the test has ended.

An exception handler, a middleware, a `try` in an endpoint or a framework makes a response of them, and the test sees only a 500.
They are noted where they are made (by SQLAlchemy, or by a driver below it), where Starlette looks for a handler, and where they
are logged. A test that raises none of them does nothing more than before.
"""

from __future__ import annotations

import logging
import threading
from asyncio.events import _get_running_loop
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine

from greenroom.diagnosis.exceptions import Raised, chain
from greenroom.diagnosis.loops import THREAD
from greenroom.loop.tasks import CALL
from greenroom.private.sqlalchemy import watch_errors
from greenroom.watch.current import listen
from greenroom.watch.scopes import in_application

if TYPE_CHECKING:
    from types import CodeType

    from sqlalchemy import ExceptionContext

_MOST: Final = 8
"""Errors that are kept of one test. Their frames hold what the application had open."""

_KINDS: Final = frozenset(
    {
        "DetachedInstanceError",
        "IllegalStateChangeError",
        "InvalidRequestError",
        "MissingGreenlet",
        "PendingRollbackError",
        "ResourceClosedError",
        "TimeoutError",
    }
)
"""Those of SQLAlchemy's own that are known; the others are the daily bread of an application, such as NoResultFound."""

_ANSWERS: Final = frozenset({"DataError", "HTTPException", "IntegrityError", "RequestValidationError"})
"""Those that an application answers on purpose. One that was raised in spite of another may hide that one."""


class Caught:
    """Notes the errors of the application."""

    def __init__(self) -> None:
        self._noted: deque[Raised] = deque(maxlen=_MOST)
        self._on = False

    def install(self) -> Callable[[], None]:
        """Begin to note. Returns what ends it."""
        undo = ExitStack()
        self._on = True
        undo.callback(watch_errors(_KINDS, self._made))
        listen(Engine, "handle_error", self._of_driver, undo)
        undo.callback(self._note_logged())
        undo.callback(self._stop)
        return undo.close

    def join(self) -> Callable[[], None]:
        """Note what Starlette looks for a handler of, too: call it when Starlette is imported. Returns what ends it."""
        from greenroom.private.starlette import watch_handlers

        return watch_handlers(self._handled) if self._on else lambda: None

    def forget(self) -> None:
        """The test is over, or has not begun."""
        self._noted.clear()

    def take(self, seen: BaseException | None = None) -> list[Raised]:
        """What the application has caught since this was last asked, the first one first.

        Args:
            seen: What the test has failed with. That, and what stands behind it, is left out.
        """
        if not self._noted:
            return []
        found = [self._noted.popleft() for _ in range(len(self._noted))]
        known = _behind(seen) if seen else set()
        caught: list[Raised] = []
        for number, raised in enumerate(found):
            if id(raised.error) in known or not raised.is_caught:
                continue
            # What the application has raised of one that is told already.
            if any(id(other.error) in _behind(raised.error) for other in caught):
                continue
            # What a library has wrapped has not come as far as the user's line.
            if raised.passed_users or not any(
                id(raised.error) in _behind(other.error) for other in found[number + 1 :]
            ):
                caught.append(raised)
        return caught

    def put_back(self, errors: list[Raised]) -> None:
        """Give back what was taken, in its order, for whoever asks next."""
        self._noted.extendleft(reversed(errors))

    def _stop(self) -> None:
        self._on = False
        self._noted.clear()

    # -- where they are noted ----------------------------------------------------------------------------------------

    def _made(self, error: BaseException) -> None:
        if in_application():
            self._add(error)

    def _of_driver(self, context: ExceptionContext) -> None:
        if in_application():
            self._add(context.sqlalchemy_exception or context.original_exception)

    def _handled(self, error: BaseException, handler: Any) -> None:
        if in_application():
            self._add(error, getattr(handler, "__code__", None))

    def _note_logged(self) -> Callable[[], None]:
        stock = logging.getLogRecordFactory()

        def record(*args: Any, **options: Any) -> logging.LogRecord:
            made = stock(*args, **options)
            if made.exc_info and self._on and (in_application() or threading.current_thread().name == THREAD):
                error = made.exc_info[1]
                if error is not None:
                    self._add(error)
            return made

        logging.setLogRecordFactory(record)

        def undo() -> None:
            # Somebody may have put theirs around it.
            if logging.getLogRecordFactory() is record:
                logging.setLogRecordFactory(stock)

        return undo

    def _add(self, error: BaseException, handler: CodeType | None = None) -> None:
        name = type(error).__name__
        if name in _ANSWERS and (name != "HTTPException" or error.__context__ is None):
            return
        # A copy: another thread may note one meanwhile.
        known = next((raised for raised in list(self._noted) if raised.error is error), None)
        if known is not None:
            # Starlette takes the traceback away when it has answered.
            known.traceback = error.__traceback__ or known.traceback
            known.handler = handler or known.handler
            return
        self._noted.append(Raised(CALL.get(), error, error.__traceback__, handler, _get_running_loop()))


def _behind(error: BaseException) -> set[int]:
    return {id(each) for each in chain(error, expected=True)}
