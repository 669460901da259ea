"""An asynchronous context manager, entered on the loop and left in the same task, for synchronous code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from contextvars import Context, copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from greenroom.loop.call import answer, unheard
from greenroom.loop.context import Carried, carrier

if TYPE_CHECKING:
    from greenroom.loop.thread import Loop

T = TypeVar("T")


class Entered(Generic[T]):
    """Enters an asynchronous context manager as a synchronous one.

    One task enters and leaves it, as task groups want it. Context variables that it sets are the caller's until it is left.

    Args:
        loop: Where it runs.
        manager: The asynchronous context manager, or what makes it on the loop.
    """

    def __init__(
        self,
        loop: Loop,
        manager: AbstractAsyncContextManager[T] | Callable[[], AbstractAsyncContextManager[T]],
    ) -> None:
        self._loop = loop
        self._manager = manager
        self._title = getattr(manager, "__qualname__", type(manager).__name__)
        self._context = Context()
        self._carried = Carried()
        self._begun: Future[T] = Future()
        self._left: Future[bool | None] = Future()
        self._raised: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> T:
        """Enter it.

        Raises:
            BaseException: What it raises.
            HangError: It took too long, or the loop has ended.
        """
        __tracebackhide__ = True
        # A copy, and not the caller's own: the task may go on while the caller does.
        self._context = copy_context()
        self._loop.soon(self._launch, otherwise=self._begun.set_exception)
        try:
            return self._loop.wait(self._begun, f"entering {self._title}")
        except BaseException:
            self._give_up()
            raise
        finally:
            self._carried.into_main(self._context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Leave it. Returns whether it takes the error of the block.

        Raises:
            BaseException: What it raises.
            HangError: It took too long, or the loop has ended.
        """
        __tracebackhide__ = True
        try:
            self._loop.soon(
                self._leave, error, carrier(copy_context(), self._context), otherwise=self._left.set_exception
            )
            return self._loop.wait(self._left, f"leaving {self._title}")
        except BaseException as raised:
            if raised is error:
                return False  # with its own traceback
            self._give_up()
            raise
        finally:
            self._carried.into_main(self._context)
            self._carried.put_back()

    def _give_up(self) -> None:
        if not self._loop.ended:
            self._loop.soon(self._cancel, otherwise=unheard)

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._wanted = asyncio.Event()
        loop = asyncio.get_running_loop()
        # Not by the loop, as in `Held`.
        self._task = asyncio.Task(self._hold(), loop=loop, name=self._title, context=self._context)

    def _leave(self, error: BaseException | None, carry: Any) -> None:
        carry()
        self._raised = error
        self._wanted.set()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _hold(self) -> None:
        entered = False
        suppressed = False
        try:
            async with _made(self._manager) as value:
                entered = True
                answer(self._begun, value)
                await self._wanted.wait()
                if self._raised is not None:
                    suppressed = True
                    raise self._raised
            answer(self._left, suppressed)
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            _fail(self._left if entered else self._begun, error)


def _made(manager: Any) -> Any:
    return manager if hasattr(manager, "__aenter__") else manager()


def each(loop: Loop, iterable: AsyncIterable[T]) -> Iterator[T]:
    """The elements of an asynchronous iterable, each fetched on the loop when it is asked for.

    Args:
        loop: Where it runs.
        iterable: What is iterated. If it is a generator, it is closed at the end, also of a loop that is left early.
    """
    __tracebackhide__ = True
    iterator = aiter(iterable)

    async def following() -> tuple[bool, T | None]:
        try:
            return True, await anext(iterator)
        except StopAsyncIteration:
            return False, None

    try:
        while True:
            more, value = loop.run(following(), what="the next element")
            if not more:
                return
            yield value  # type: ignore[misc]  # None only if there are no more
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None and not loop.ended:
            with contextlib.suppress(RuntimeError):  # it is running: its step has just been given up
                loop.run(close(), what="closing what was iterated")


def _fail(future: Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
