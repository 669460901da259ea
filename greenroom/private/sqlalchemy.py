"""SQLAlchemy 2.0.0 to 2.1."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import greenlet  # type: ignore[import-untyped]
from sqlalchemy.engine import Engine, create
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, session
from sqlalchemy.orm.session import _sessions
from sqlalchemy.pool.base import _ConnectionFairy, _ConnectionRecord

if TYPE_CHECKING:
    from types import FrameType

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.pool import Pool

_FILE: Final = session.__file__
_FLUSHES = itertools.count(1)

ConnectionFairy = _ConnectionFairy
"""What a pool hands out. Its `driver_connection` is asked for by those who want the driver's own connection."""

ConnectionRecord = _ConnectionRecord
"""A pool's entry. Its `get_connection` is called before a connection is used, also by `pool_pre_ping`."""


def in_greenlet() -> bool:
    """Return whether an asynchronous engine or session runs this code, so that a driver may wait.

    SQLAlchemy has a function for that since 2.0.24; the class is as old as its asynchronous engines.
    """
    return type(greenlet.getcurrent()).__name__ == "_AsyncIoGreenlet"


def flush_of(frame: FrameType) -> int | None:
    """The number of the flush whose frame this is; None if it is another frame.

    A flush sends a statement for each object by itself, so these are not the user's loop.
    """
    code = frame.f_code
    if code.co_name != "_flush" or code.co_filename != _FILE:
        return None
    context = frame.f_locals.get("flush_context")
    if context is None:
        return None
    # SQLAlchemy keeps it for others.
    number: int = context.attributes.setdefault("greenroom", next(_FLUSHES))
    return number


def sessions() -> list[Session]:
    """All sessions of the process that have not been collected, those of asynchronous ones included."""
    # The references are listed at once: other threads make sessions meanwhile.
    return [found for reference in _sessions.valuerefs() if (found := reference()) is not None]


def engines_with_front() -> list[Engine]:
    """The engines that belong to an `AsyncEngine`, or did, and have not been collected."""
    base = sys.modules.get("sqlalchemy.ext.asyncio.base")
    if base is None:  # then nobody has made one
        return []
    found = [reference() for reference in list(base.ReversibleProxy._proxy_objects)]  # noqa: SLF001
    return [each for each in found if isinstance(each, Engine)]


def pool_of(record: Any) -> Pool:
    """The pool of an entry."""
    pool: Pool = record._ConnectionRecord__pool  # noqa: SLF001
    return pool


def dialect_of(pool: Any) -> Any:
    """The dialect that closes the connections of a pool."""
    return pool._dialect  # noqa: SLF001


def has_front(target: Any) -> bool:
    """Whether an engine or a session belongs to an `AsyncEngine` or `AsyncSession`, as those of `create_async_engine` do."""
    try:
        from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
    except ImportError:  # 2.1 without greenlet
        return False
    return any(
        front._retrieve_proxy_for_target(target, regenerate=False) is not None  # noqa: SLF001
        for front in (AsyncEngine, AsyncSession)
    )


def front_of(session: Session) -> AsyncSession | None:
    """The `AsyncSession` that a session belongs to, if there is one."""
    from sqlalchemy.ext.asyncio import AsyncSession

    return AsyncSession._retrieve_proxy_for_target(session, regenerate=False)  # noqa: SLF001


def hide_connecting(hidden: Callable[[Any], bool]) -> None:
    """Keep the frame that connects, which holds the password, out of pytest's tracebacks.

    Args:
        hidden: Says of an `ExceptionInfo` whether it is hidden there.
    """
    create.__dict__["__tracebackhide__"] = hidden


def watch_errors(kinds: frozenset[str], note: Callable[[BaseException], None]) -> Callable[[], None]:
    """Tell of SQLAlchemy's own errors when they are made. Returns what ends it.

    Args:
        kinds: The names of their classes.
        note: Takes the error, which has no traceback yet.
    """
    stock: Any = SQLAlchemyError.__init__

    def init(error: SQLAlchemyError, *args: Any, **options: Any) -> None:
        stock(error, *args, **options)
        if type(error).__name__ in kinds:
            note(error)

    own = "__init__" in vars(SQLAlchemyError)
    SQLAlchemyError.__init__ = init  # type: ignore[method-assign,assignment]

    def undo() -> None:
        if own:
            SQLAlchemyError.__init__ = stock  # type: ignore[method-assign]
        else:
            del SQLAlchemyError.__init__  # it is inherited

    return undo
