"""An asynchronous test, or an asynchronous fixture from its setup to its teardown: one task on the loop.

A fixture may open a task group or `asyncio.timeout` before its `yield` and close it behind: both want to be left by the task
that has entered them.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from greenroom.loop.call import CANCELLED, answer, unheard
from greenroom.loop.context import carrier
from greenroom.loop.tasks import CALL

if TYPE_CHECKING:
    from greenroom.loop.thread import Loop


class YieldError(Exception):
    """A fixture has yielded never, or more than once."""


class Held:
    """Calls an asynchronous function, and waits for it in the main thread.

    Args:
        loop: Where it runs.
        title: Its name for the user.
        call: The call that the tasks which it begins belong to; empty if they are their own.
        context: Its context variables.
        through: What each of its steps is awaited through.
    """

    def __init__(
        self,
        loop: Loop,
        title: str,
        *,
        call: str,
        context: Context,
        through: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self._loop = loop
        self._title = title
        self._call = call
        self._context = context
        self._through = through
        self._task: asyncio.Task[None] | None = None
        self._generator: Any = None
        self._begun: Future[Any] = Future()
        self._ended: Future[None] = Future()
        self._over: Future[None] = Future()

    # -- the main thread's side --------------------------------------------------------------------------------------

    def begin(self, function: Callable[[], Any]) -> Any:
        """Call the function. Returns what it returns, or what it yields.

        Raises:
            BaseException: What it raises.
            YieldError: It is a generator that has not yielded once.
            HangError: It took too long, or the loop has ended.
        """
        __tracebackhide__ = True
        self._loop.soon(
            self._launch, function, carrier(copy_context(), self._context), otherwise=self._failed
        )
        return self._wait(self._begun, self._title)

    def end(self) -> None:
        """Let a generator go on after its `yield`, to its end.

        Raises:
            BaseException: What it raises.
            YieldError: It is a generator that has not yielded once.
            HangError: It took too long, or the loop has ended.
        """
        __tracebackhide__ = True
        # On a loop that is blocked or has ended, which was told, each fixture would wait in vain.
        if self._generator is not None and self._loop.broken is None and not self._loop.ended:
            self._loop.soon(self._resume, carrier(copy_context(), self._context), otherwise=self._failed)
            self._wait(self._ended, f"the teardown of {self._title}")

    def _wait(self, future: Future[Any], what: str) -> Any:
        __tracebackhide__ = True
        future.add_done_callback(self._given_up)
        try:
            return self._loop.wait(future, what)
        except asyncio.CancelledError:
            if self._loop.dies() and (trouble := self._loop.trouble()) is not None:
                raise trouble from None
            raise
        finally:
            if future.cancelled() and not self._loop.ended and self._loop.blocked() is None:
                # What it does when it is cancelled comes before the teardown of its fixtures.
                with contextlib.suppress(TimeoutError):
                    self._over.result(CANCELLED)

    def _given_up(self, future: Future[Any]) -> None:
        if future.cancelled() and not self._loop.ended:
            self._loop.soon(self._cancel, otherwise=unheard)

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def _launch(self, function: Callable[[], Any], carry: Callable[[], object]) -> None:
        carry()
        self._wanted = asyncio.Event()
        # Not by the loop: neither its own tasks nor an application's factory have anything to do with this one.
        loop = asyncio.get_running_loop()
        self._task = asyncio.Task(self._live(function), loop=loop, name=self._title, context=self._context)
        self._task.add_done_callback(lambda _task: answer(self._over, None))

    def _resume(self, carry: Callable[[], object]) -> None:
        carry()
        self._wanted.set()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _failed(self, error: BaseException) -> None:
        for future in (self._begun, self._ended):
            if not future.done():
                future.set_exception(error)
                return

    async def _live(self, function: Callable[[], Any]) -> None:
        CALL.set(self._call)
        awaited: Any = None
        try:
            awaited = function()
            if not inspect.isasyncgen(awaited):
                answer(self._begun, await self._through(awaited))
                return
            value = await self._through(awaited.__anext__())
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            # A coroutine may raise that itself, by an anext() of its own.
            ended = isinstance(error, StopAsyncIteration) and inspect.isasyncgen(awaited)
            self._failed(YieldError(f"{self._title} did not yield a value") if ended else error)
            return
        self._generator = awaited
        answer(self._begun, value)
        try:
            await self._finish(awaited)
        except BaseException as error:  # noqa: BLE001 - as above
            self._failed(error)
        else:
            answer(self._ended, None)

    async def _finish(self, generator: Any) -> None:
        """Go on when the main thread wants that, or when something in the fixture cancels it, such as its timeout."""
        try:
            await self._wanted.wait()
            CALL.set(self._call)
            step = generator.__anext__()
        except asyncio.CancelledError as error:
            step = generator.athrow(error)
        try:
            await self._through(step)
        except StopAsyncIteration:
            return
        raise YieldError(f"{self._title} has more than one yield")
