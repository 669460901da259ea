"""The lifespan of an ASGI application, held open on the loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import HangError
from greenroom.loop.call import unheard

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

    from greenroom.loop.thread import Loop


OWN: Final[ContextVar[bool]] = ContextVar("greenroom_lifespan", default=False)
"""Whether it is a `Lifespan` that opens the application's lifespan."""


class Lifespan:
    """Starts an application up and, later, shuts it down, in one task, as a server does.

    Args:
        loop: Where it runs.
        app: The application.
        state: Filled by the application while it starts up; each request gets a copy of it.
    """

    def __init__(self, loop: Loop, app: ASGIApp, state: dict[str, Any]) -> None:
        self._loop = loop
        self._app = app
        self._state = state
        self._open = False

    def start(self) -> None:
        """Start the application up.

        Raises:
            BaseException: What the application raised while it started up, with its traceback.
        """
        self._run(self._begin(), "the application's startup")

    def stop(self) -> None:
        """Shut the application down, if it was started.

        Raises:
            BaseException: What the application raised while it shut down.
        """
        if self._open and not self._loop.ended and self._loop.broken is None:
            self._run(self._end(), "the application's shutdown")

    async def end(self) -> None:
        """Do what `stop` does, on the loop itself."""
        if self._open:
            await self._end()

    def _run(self, coroutine: Coroutine[Any, Any, None], what: str) -> None:
        try:
            self._loop.run(coroutine, what=what)
        except HangError:
            self._open = False
            with contextlib.suppress(HangError):  # the loop has ended
                self._loop.soon(self._give_up, otherwise=unheard)
            raise

    def _give_up(self) -> None:
        self._served.cancel()

    async def _begin(self) -> None:
        self._asked = False
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._messages.put_nowait({"type": "lifespan.startup"})
        self._served = asyncio.create_task(self._serve(), name="lifespan")
        await asyncio.wait([self._started, self._served], return_when=asyncio.FIRST_COMPLETED)
        if self._started.done() and (failure := self._started.exception()):
            # The exception itself, if there is one, follows the word that startup failed.
            await asyncio.wait([self._served], timeout=1)
            raise (self._served.exception() if self._served.done() else None) or failure
        if self._served.done() and (error := self._served.exception()) and self._asked:
            raise error
        # An application that falls over the very word "lifespan" has none, which the specification allows.
        self._open = True

    async def _end(self) -> None:
        self._open = False
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([self._served])
        failure = self._stopped.exception() if self._stopped.done() else None
        error = self._served.exception() if self._asked else None
        if error or failure:
            raise error or failure  # type: ignore[misc]

    async def _serve(self) -> None:
        OWN.set(True)
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        self._asked = True
        return await self._messages.get()

    async def _send(self, message: Message) -> None:
        kind, _, outcome = message["type"].removeprefix("lifespan.").partition(".")
        future = self._started if kind == "startup" else self._stopped
        if outcome == "complete":
            future.set_result(None)
        else:
            future.set_exception(
                RuntimeError(f"the application's {kind} failed: {message.get('message', '')}")
            )
            future.exception()  # looked at, also where nobody waits any more
