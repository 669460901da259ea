"""Which event loops, connections and engines a failure had to do with, as far as its frames tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

from greenroom.diagnosis import engines, loops
from greenroom.explain.failure import Failure


def runner(failure: Failure) -> str:
    """What runs the loop that the user's line ran on, in words."""
    started = failure.passed("asyncio/base_events.py", "run_until_complete")
    started = started or failure.passed("asyncio/runners.py", "run")
    if started:
        outside = failure.frames[: failure.frames.index(started)]
    elif failure.loop is not None:
        return loops.described(failure.loop)
    else:
        # It ran in another thread, whose frames are not in the traceback.
        outside = tuple(frame for frame in failure.frames if not frame.is_users)
    return loops.runner(reversed(outside))


def ran_on(failure: Failure, loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the user's line ran on this loop."""
    frame = failure.passed("asyncio/base_events.py", "run_until_complete")
    if frame is not None:
        return frame.locals.get("self") is loop
    if failure.loop is not None:
        return failure.loop is loop
    return runner(failure) == loops.GREENROOMS == loops.described(loop)


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


def _adapted(failure: Failure) -> Iterator[Any]:
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
    """What the user calls that engine; empty if it is no global variable."""
    engine = engine_of(failure)
    return engines.engine_name(engine) if engine is not None else ""
