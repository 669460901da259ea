"""Which event loops and engines a failure had to do with, as far as its frames tell."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_RUNNERS: Final = (
    ("greenroom/loop/client.py", "greenroom's loop (`client`)"),
    ("greenroom/loop/thread.py", "greenroom's loop (`run`)"),
    ("pytest_asyncio/plugin.py", "a loop of pytest-asyncio"),
    ("anyio/pytest_plugin.py", "a loop of anyio's pytest plugin"),
    ("starlette/testclient.py", "the loop of a TestClient"),
)


def runner(failure: Failure) -> str:
    """Which loop the user's line ran on, in words, by who ran it."""
    for frame in reversed(failure.frames):
        if frame.within("asyncio/runners.py") and frame.function == "run":
            before = failure.frames[: failure.frames.index(frame)]
            if before and before[-1].is_users:
                return f"the loop of `asyncio.run()` at {before[-1].where}"
        for file, words in _RUNNERS:
            if frame.within(file):
                return words
    return "the loop of now"


def made_on(loop: Any) -> str:
    """An event loop in words, by what has become of it."""
    if not isinstance(loop, asyncio.AbstractEventLoop):
        return "another one"
    if loop.is_closed():
        return "a loop that is closed by now"
    # asyncio tells nobody else which thread runs a loop.
    ident = getattr(loop, "_thread_id", None)
    thread = next((thread for thread in threading.enumerate() if thread.ident == ident), None)
    if thread is None:
        return "another loop, which does not run at the moment"
    if thread.name == "greenroom loop":
        return "greenroom's loop, the application's"
    return f"the loop of the thread {thread.name!r}"


def ran_on(failure: Failure, loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the user's line ran on this loop."""
    frame = failure.passed("asyncio/base_events.py", "run_until_complete")
    if frame is not None:
        return frame.locals.get("self") is loop
    # Greenroom's runs in a thread of its own, whose frames are not in the traceback.
    return runner(failure).startswith("greenroom") and made_on(loop).startswith("greenroom")


def loop_of_connection(failure: Failure) -> asyncio.AbstractEventLoop | None:
    """The loop that the asyncpg connection belongs to which the failure is about, or None if that is not known."""
    asyncpg = sys.modules.get("asyncpg")
    if asyncpg is None:
        return None
    connection = next(failure.found(asyncpg.Connection), None)
    if connection is None:
        connection = next(_adapted(failure), None)
    loop = getattr(connection, "_loop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


def _adapted(failure: Failure) -> Any:
    """The asyncpg connections behind SQLAlchemy's adapter of them and of their cursors."""
    for frame in reversed(failure.frames):
        if frame.within("sqlalchemy/dialects/postgresql/asyncpg.py"):
            found = getattr(frame.locals.get("self"), "_connection", None)
            yield getattr(found, "_connection", found)


def engine_of(failure: Failure) -> Any:
    """The engine that the failure is about, a synchronous one as SQLAlchemy has it inside; None if no frame knows it."""
    from sqlalchemy import Connection, Engine

    engine = next(failure.found(Engine), None)
    if engine is None:
        connection = next(failure.found(Connection), None)
        engine = connection.engine if connection is not None else None
    return engine


def engine_name(failure: Failure) -> str:
    """The engine that the failure is about, as `engine` of its module, if it is a global variable there."""
    engine = engine_of(failure)
    if engine is None:
        return ""
    for name, module in tuple(sys.modules.items()):
        if name.startswith(("sqlalchemy", "greenroom", "_pytest")):
            continue
        for variable, value in tuple(getattr(module, "__dict__", {}).items()):
            if value is engine or (type(value).__name__ == "AsyncEngine" and value.sync_engine is engine):
                return f"`{name}.{variable}`"
    return ""
