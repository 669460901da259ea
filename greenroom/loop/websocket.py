"""A WebSocket session of the tests on the one loop.

Starlette's own waits for ever for an application that has ended without a word.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Self

from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from greenroom.loop.call import Call

if TYPE_CHECKING:
    from starlette.types import Message

    from greenroom.loop.thread import Loop

_READ: Final = 0.02
"""Seconds that the application has to read that the client has left; else it is cancelled, as by Starlette's session."""

_LEFT: Final = 1.0
"""Seconds that it has to end after it has read that."""

_ABNORMAL: Final = 1006
"""The code that a client sees where a connection was closed without one (RFC 6455, 7.4.1)."""


class Session(WebSocketTestSession):
    """A `WebSocketTestSession` on the one loop. A context manager; see `on_loop` for how it is made."""

    loop: Loop
    context: contextvars.Context

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            AssertionError: The application has ended without accepting.
            WebSocketDisconnect: It has refused.
        """
        self._title = f"WebSocket {self.scope['path']}"
        self._sent: deque[Message] = deque()
        self._reader: Future[Message] | None = None
        self._accepted = False
        self.portal = self.loop.portal
        self._call = Call(self.loop, self._title, self._serve, over=self._after, failed=self._failed)
        # The request's context, not that of the `with`: what watches a request has said so there.
        self.context.run(self._call.start, before=self._prepare)
        try:
            self.send({"type": "websocket.connect"})
            message = self.receive()
            self._raise_on_close(message)
        except BaseException:
            self._leave()
            raise
        self._accepted = True
        self.accepted_subprotocol = message.get("subprotocol", None)
        self.extra_headers = message.get("headers", None)
        return self

    def __exit__(self, *exception: object) -> bool | None:
        """Disconnect, and wait for the application to end.

        Raises:
            BaseException: What the application raised, unless it has been raised by `receive`.
            HangError: The application swallows its cancellation.
        """
        if not self._call.ended.done():
            self.close(1000)
        self._leave()
        if (error := self._call.error()) is not None:
            raise error
        return None

    def send(self, message: Message) -> None:
        """Hand the application a message."""
        self.loop.soon(self._put, message, otherwise=self._failed)

    def receive(self) -> Message:
        """The application's next message.

        Raises:
            AssertionError: It has ended without accepting.
            WebSocketDisconnect: It has ended without closing.
            BaseException: What it raised.
        """
        wanted: Future[Message] = Future()
        self.loop.soon(self._read, wanted, otherwise=wanted.set_exception)
        return self.loop.wait(wanted, f"a message of {self._title}")

    def _leave(self) -> None:
        self.loop.soon(self._cancel_later, otherwise=self._failed)
        self._call.join()

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._has_read_that_it_is_over = False

    async def _serve(self) -> None:
        await self.app(self.scope, self._receive, self._take)

    async def _receive(self) -> Message:
        message = await self._messages.get()
        if message["type"] == "websocket.disconnect":
            self._has_read_that_it_is_over = True
        return message

    async def _take(self, message: Message) -> None:
        self._sent.append(message)
        self._hand_on()

    def _put(self, message: Message) -> None:
        self._messages.put_nowait(message)

    def _read(self, wanted: Future[Message]) -> None:
        self._reader = wanted
        self._hand_on()

    def _after(self) -> None:
        self._hand_on()

    def _hand_on(self) -> None:
        """Give the reader a message, or say that there will be none."""
        if self._reader is None or self._reader.done():
            return
        if self._sent:
            self._reader.set_result(self._sent.popleft())
        elif self._call.ended.done():
            self._reader.set_exception(self._call.error() or self._silence())

    def _silence(self) -> BaseException:
        if self._accepted:
            return WebSocketDisconnect(_ABNORMAL, "the application has ended without closing the WebSocket")
        return AssertionError(f"The application has ended without accepting the {self._title}.")

    def _failed(self, error: BaseException) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_exception(error)
        self._call.fail(error)

    def _cancel_later(self) -> None:
        asyncio.get_running_loop().call_later(_READ, self._cancel_unless_it_ends)

    def _cancel_unless_it_ends(self) -> None:
        if self._has_read_that_it_is_over:
            asyncio.get_running_loop().call_later(_LEFT, self._call.cancel)
        else:
            self._call.cancel()


def on_loop(loop: Loop, stock: type[WebSocketTestSession]) -> Any:
    """What takes the place of Starlette's class: makes a `Session` on the loop, but Starlette's own for another backend.

    Args:
        loop: The loop.
        stock: Starlette's own class.
    """

    def make(app: Any, scope: Any, portal_factory: Any) -> WebSocketTestSession:
        client = getattr(portal_factory, "__self__", None)
        if client is not None and client.async_backend["backend"] != "asyncio":
            return stock(app, scope, portal_factory)
        session = Session(app, scope, portal_factory)
        session.loop = loop
        session.context = contextvars.copy_context()
        return session

    return make
