"""Where the application is while somebody waits for it in vain."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final

from greenroom.diagnosis.frames import is_users, line_of

_DEBUGGERS: Final = ("bdb", "pdb", "pdbpp", "pydevd", "_pydevd_bundle", "debugpy")
"""Modules of debuggers. What one of them holds is not stuck."""

_SHOWN: Final = 3
"""Tasks and threads that are named; of hundreds, the first tell enough."""


_SUSPENDED: Final = (CoroutineType, AsyncGeneratorType, GeneratorType)


def debugged(thread: threading.Thread) -> bool:
    """Return whether a debugger holds a thread."""
    return any(
        frame.f_globals.get("__name__", "").partition(".")[0] in _DEBUGGERS for frame in _stack(thread)
    )


def where_blocked(thread: threading.Thread) -> str:
    """That a call blocks the loop, and where."""
    frames = list(_stack(thread))
    place = next((frame for frame in frames if is_users(frame.f_code.co_filename)), None)
    at = f" at {line_of(place)}" if place is not None else ""
    if place is None and frames:
        at = f" in {frames[0].f_code.co_qualname} ({os.path.basename(frames[0].f_code.co_filename)})"  # noqa: PTH119
    return (
        f"The event loop is blocked{at}. Nothing else of the application runs until that call returns: "
        f"await an asynchronous one in its place, or hand it to asyncio.to_thread()."
    )


def where_waiting(loop: asyncio.AbstractEventLoop) -> str:
    """Which of the user's lines the tasks on a loop, and the threads that they have handed work to, are at."""
    places = []
    for task in sorted(_tasks(loop), key=lambda task: task.get_name()):
        frame = next(
            (frame for frame in _awaiting(task.get_coro()) if is_users(frame.f_code.co_filename)), None
        )
        if frame is not None:
            places.append(f"the task {task.get_name()!r} waits at {line_of(frame)}")
    here = threading.current_thread()
    for thread in threading.enumerate():
        if thread is here or thread is threading.main_thread():
            continue
        frame = next((frame for frame in _stack(thread) if is_users(frame.f_code.co_filename)), None)
        if frame is not None:
            places.append(f"the thread {thread.name!r} is at {line_of(frame)}")
    more = f"; and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    told = "; ".join(places[:_SHOWN]) + more
    return (
        f"Of the application, {told}." if told else "None of its tasks is at a line of the application's own."
    )


def _tasks(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
    """The tasks of a loop that runs in another thread."""
    for _attempt in range(10):
        try:
            return asyncio.all_tasks(loop)
        except RuntimeError:
            # The set of all tasks has changed while it was read.
            continue
    return set()


def _awaiting(coroutine: Any) -> Iterator[FrameType]:
    """The frames of a suspended coroutine and of what it awaits, the innermost first."""
    found: list[FrameType] = []
    while coroutine is not None and len(found) < 200:
        match coroutine:
            case CoroutineType():
                frame, coroutine = coroutine.cr_frame, coroutine.cr_await
            case AsyncGeneratorType():
                frame, coroutine = coroutine.ag_frame, coroutine.ag_await
            case GeneratorType():
                frame, coroutine = coroutine.gi_frame, coroutine.gi_yieldfrom
            case _:
                # What `anext()` and `asend()` await names its generator to the garbage collector only.
                inner = (each for each in gc.get_referents(coroutine) if isinstance(each, _SUSPENDED))
                coroutine = next(inner, None)
                continue
        if frame is not None:
            found.append(frame)
    return reversed(found)


def _stack(thread: threading.Thread) -> Iterator[FrameType]:
    """The frames of a thread that runs, the innermost first."""
    frame = sys._current_frames().get(thread.ident or -1)  # noqa: SLF001 - the documented way to another thread's frame
    while frame is not None:
        yield frame
        frame = frame.f_back
