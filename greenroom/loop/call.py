"""One call of the application: a task on the loop, whose end somebody in another thread waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import HangError
from greenroom.loop.tasks import CALL

if TYPE_CHECKING:
    from greenroom.loop.thread import Loop

AGAIN: Final = 0.1
"""Seconds until a task that goes on is cancelled again, and twice as long each time: cleaning up may take a moment."""

CANCELLED: Final = 5.0
"""Seconds that a task may go on after it was cancelled."""


class Call:
    """Calls the application once.

    Attributes:
        ended: Done when it has ended. Fails only where this package itself has failed.

    Args:
        loop: Where it runs.
        title: What it is called, such as `GET /items`.
        serve: Calls the application.
        over: Called on the loop when it has ended.
        failed: Takes an error of this package on the loop, and passes it on to those who wait.
    """

    def __init__(
        self,
        loop: Loop,
        title: str,
        serve: Callable[[], Awaitable[None]],
        *,
        over: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._loop = loop
        self._title = title
        self._serve = serve
        self._over = over
        self._failed = failed
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = 0
        self.ended: Future[None] = Future()

    # -- the test's side ---------------------------------------------------------------------------------------------

    def start(self, *, before: Callable[[], None]) -> None:
        """Start the call on the loop, with the caller's context variables.

        Args:
            before: Called on the loop before it starts.
        """
        self._loop.soon(self._launch, before, otherwise=self._failed)

    def join(self) -> None:
        """Wait until the call has ended.

        Raises:
            HangError: It goes on although it was cancelled, or longer than the loop's timeout.
        """
        self._loop.wait(self.ended, self._title, at_least=2 * CANCELLED)

    def error(self) -> BaseException | None:
        """What it raised, once: that is raised in the test, or kept to explain it. Not that it was cancelled from here."""
        error, self._error = self._error, None
        if isinstance(error, asyncio.CancelledError):
            if self._cancelled:
                return None
            if self._loop.dies():
                return self._loop.trouble()
        return error

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def _launch(self, before: Callable[[], None]) -> None:
        before()
        self._task = asyncio.create_task(self._run(), name=self._title)

    async def _run(self) -> None:
        CALL.set(self._title)
        try:
            await self._serve()
        except BaseException as error:  # noqa: BLE001 - it is raised in the test
            self._error = error
        if self.ended.done():
            return  # given up
        self.ended.set_result(None)
        try:
            self._over()
        except BaseException as error:  # noqa: BLE001 - those who wait raise it
            self._failed(error)

    def cancel(self) -> None:
        """Cancel it: again and again, since asyncio does so once only, and an application may swallow it.

        After `CANCELLED` seconds it is given up, and `ended` fails.
        """
        if self._task is None or self.ended.done():
            return
        pause = AGAIN * 2**self._cancelled
        if AGAIN * (2**self._cancelled - 1) > CANCELLED:
            self.fail(
                HangError(
                    f"{self._title} goes on although its client has left: it was cancelled {self._cancelled} times in "
                    f"{CANCELLED:g} s, and swallows that.",
                    hint="raise it again: except asyncio.CancelledError: …; raise",
                )
            )
            return
        self._cancelled += 1
        self._task.cancel()
        self._task.get_loop().call_later(pause, self.cancel)

    def fail(self, error: BaseException) -> None:
        """Make everyone who waits for the end raise an error."""
        if not self.ended.done():
            self.ended.set_exception(error)


def answer(future: Future[Any], value: Any) -> None:
    """Give somebody what they wait for, if they still do."""
    if not future.done():
        future.set_result(value)


def unheard(_error: BaseException) -> None:
    """Take what goes wrong while something is given up, which nobody waits for."""
