"""Waiting synchronously on the loop itself: the way for a synchronous client in an asynchronous test.

Such a test runs in a greenlet, as the ORM does under SQLAlchemy's `AsyncSession`. Where it would block the loop that it waits
for, it leaves its greenlet: its task awaits what it waits for, the loop serves the request, and the test goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Final

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

_AWAITS: Final = object()
_WAITS: Final = object()
_ENDED: Final = object()


class _Body(greenlet):  # type: ignore[misc]  # it has no types
    """The greenlet of a test or a fixture."""


def possible() -> bool:
    """Whether what runs now can wait for the loop that it runs on."""
    return isinstance(getcurrent(), _Body)


def wait(future: Future[Any], seconds: float) -> None:
    """Let the loop run until the future is done, or so many seconds have passed."""
    parent = getcurrent().parent
    assert parent is not None
    _, error = parent.switch(_WAITS, (future, seconds))
    if error is not None:
        raise error


class Hopping:
    """Awaits something, in a greenlet that can `wait`.

    Args:
        awaited: A coroutine, or a step of an asynchronous generator.
    """

    def __init__(self, awaited: Any) -> None:
        self._awaited = awaited if hasattr(awaited, "send") else awaited.__await__()

    def __await__(self) -> Generator[Any, Any, Any]:
        """Run it, and await what it awaits and what it waits for."""
        body = _Body(self._steps)
        body.gr_context = getcurrent().gr_context
        kind, what = body.switch()
        while kind is not _ENDED:
            value, error = None, None
            try:
                if kind is _WAITS:
                    yield from _done(*what).__await__()
                else:
                    value = yield what
            except BaseException as raised:  # noqa: BLE001 - it is raised in the greenlet
                error = raised
            kind, what = body.switch(value, error)
        return what

    def _steps(self) -> tuple[object, Any]:
        parent = getcurrent().parent
        assert parent is not None
        value, error = None, None
        while True:
            try:
                what = self._awaited.send(value) if error is None else self._awaited.throw(error)
            except StopIteration as stop:
                return _ENDED, stop.value
            value, error = parent.switch(_AWAITS, what)


async def _done(future: Future[Any], seconds: float) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    future.add_done_callback(lambda _future: loop.call_soon_threadsafe(done.set))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), seconds)
