"""Tasks that a request or a `run(…)` has begun and that go on after their test.

A task that an endpoint starts with `asyncio.create_task` and does not await may write its rows into the next test. The loop
makes the tasks, so it can note for each the call that began it, or that began the task that did. Those of the application's
lifespan belong to no call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import sys
import time
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from greenroom.diagnosis.frames import Line, is_users, line_of, users_line

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CALL: Final[ContextVar[str]] = ContextVar("greenroom_call", default="")
"""The call that the code belongs to, such as `GET /items`; empty outside of calls."""

_CANCELLED: Final = 1.0
"""Seconds that a task may take to end after it was cancelled."""

_BETWEEN: Final = re.compile(r"[/\\](?:asyncio|anyio|greenroom)[/\\]")
"""Files of those who only pass a task on: who began it is behind them."""


@dataclasses.dataclass(frozen=True)
class Beginning:
    """How a task began.

    Attributes:
        call: The call that it belongs to.
        line: The user's line that began it; None if there is none.
        direct: It was that line which made the task, and not a library that it called.
    """

    call: str
    line: Line | None
    direct: bool


class Tasks:
    """The tasks of one loop that belong to calls."""

    def __init__(self) -> None:
        self._begun: weakref.WeakKeyDictionary[asyncio.Task[Any], Beginning] = weakref.WeakKeyDictionary()

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the tasks of a loop. An application that sets a task factory of its own is not hindered."""
        loop.set_task_factory(self._make)  # type: ignore[arg-type]  # typeshed names its arguments otherwise

    def _make(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **options)
        if call := CALL.get():
            frame: Any = sys._getframe(1)  # noqa: SLF001 - the documented way to a frame
            while frame is not None and _passes_on(frame.f_code.co_filename):
                frame = frame.f_back
            direct = frame is not None and is_users(frame.f_code.co_filename)
            self._begun[task] = Beginning(call, line_of(frame) if direct else users_line(), direct)
        return task

    def _unfinished(self) -> dict[asyncio.Task[Any], Beginning]:
        """Those of the user's own that still run. What a library keeps running is its own business, such as a pool's workers."""
        found = {}
        # The references are listed at once: the loop may begin a task meanwhile.
        for reference in self._begun.keyrefs():
            task = reference()
            begun = self._begun.get(task) if task is not None and not task.done() else None
            if task is not None and begun is not None and (begun.direct or is_users(_file_of(task))):
                found[task] = begun
        return found

    def settle(self, run: Callable[..., Any], seconds: float) -> list[str]:
        """Wait for the tasks that go on after their test, and cancel those that still go on then.

        Args:
            run: Runs a coroutine on their loop and waits for it, as `Loop.run`.
            seconds: How long to wait for them.

        Returns:
            What to say of each that was cancelled.
        """
        end = time.monotonic() + seconds
        while (left := self._unfinished()) and (remaining := end - time.monotonic()) > 0:
            run(_wait(left, remaining), what="waiting for tasks that go on after their test")
        if not left:
            return []
        told = {task: _described(task, begun) for task, begun in left.items()}
        run(_cancel(left), what="cancelling tasks that go on after their test")
        for task in left:
            self._begun.pop(task, None)
        return [
            text
            + ("" if task.done() else " It swallows its cancellation, so it may write into the next test.")
            for task, text in told.items()
        ]

    def forget(self) -> None:
        """Leave the tasks that still run to themselves: they are no test's."""
        self._begun.clear()


def _passes_on(file: str) -> bool:
    return _BETWEEN.search(file) is not None and not is_users(file)


async def _wait(tasks: dict[asyncio.Task[Any], Beginning], seconds: float) -> None:
    await asyncio.wait(tasks, timeout=seconds)


async def _cancel(tasks: dict[asyncio.Task[Any], Beginning]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_CANCELLED)


def _file_of(task: asyncio.Task[Any]) -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    return code.co_filename if code else ""


def _described(task: asyncio.Task[Any], begun: Beginning) -> str:
    name = getattr(task.get_coro(), "__qualname__", task.get_name())
    where = f", begun at {begun.line}" if begun.line else ""
    return f"The task {name}() of {begun.call} still runs after its test{where}."
