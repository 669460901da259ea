"""The client of the tests: Starlette's `TestClient`, with a transport that goes to the loop once per request.

Starlette's own transport crosses to the loop six times for a request, to pass each event of the response on. This one
starts the application there and waits until the response is complete, or until it turns out to be a stream: then it
hands out what is there and fetches the rest piece by piece, as Starlette's does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote

from greenroom.loop.call import Call
from greenroom.private.starlette import (
    TestClient,
    Transport,
    client_of,
    httpx,
    replace_transport,
    transport_of,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

    from greenroom.loop.thread import Loop

GRACE: Final = 0.005
"""Seconds from the first piece of a response with more to come until it counts as a stream."""

ADDRESS: Final = ("127.0.0.1", 50000)
"""Where requests come from. Starlette's "testclient" is no address: a filter refuses it, and so does a column of type inet."""

WINDOW: Final = 64
"""Pieces of a response that the application may be ahead of its reader."""


class Client(TestClient):
    """A `TestClient` on the one loop. The application's lifespan is not its business: that is open already.

    Args:
        app: The application.
        loop: The loop.
        state: What the lifespan left in its state.
        options: As for `TestClient`.
    """

    def __init__(self, app: ASGIApp, loop: Loop, state: dict[str, Any], **options: Any) -> None:
        super().__init__(app, **options)
        stock = transport_of(self)
        assert isinstance(stock, Transport)
        stock.app_state = state
        if "client" not in options:
            stock.client = ADDRESS
        self.app_state = state
        self.portal = loop.portal
        replace_transport(self, _Transport(stock, loop))

    def __enter__(self) -> Self:
        """Nothing to do: the application is up."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing to do: the application stays up."""


def answer(stock: Transport, request: httpx.Request, loop: Loop) -> httpx.Response:
    """Have the application of one of Starlette's own transports answer a request, on the loop."""
    return _Transport(stock, loop).handle_request(request)


class _Transport(httpx.BaseTransport):
    """Runs the application for one request at a time, on the loop."""

    def __init__(self, stock: Transport, loop: Loop) -> None:
        self._stock = stock
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme in ("ws", "wss"):
            return self._stock.handle_request(request)
        exchange = _Exchange(self._stock, request, self._loop)
        try:
            exchange.begin()
        except BaseException:
            exchange.abandon()
            raise
        return exchange.response()

    def close(self) -> None:
        self._stock.close()


class _Exchange(httpx.SyncByteStream):
    """One request and its response. What is not said to be the test's runs on the loop."""

    def __init__(self, stock: Transport, request: httpx.Request, loop: Loop) -> None:
        self._request = request
        self._body = request.read()
        self._scope = _scope(stock, request)
        self._app = stock.app
        self._raise = stock.raise_server_exceptions
        self._loop = loop
        self._start: Message | None = None
        self._pieces: deque[bytes] = deque()
        self._trailers: list[tuple[bytes, bytes]] = []
        self._debug: dict[str, Any] | None = None
        self._complete = False
        self._closed = False
        self._available: Future[None] = Future()
        self._reader: Future[list[bytes]] | None = None
        self._title = f"{request.method} {request.url.path}"
        self._call = Call(loop, self._title, self._serve, over=self._after, failed=self._failed)

    # -- the test's side ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the application, and wait until it has answered."""
        self._call.start(before=self._prepare)
        self._loop.wait(self._available, self._title)

    def response(self) -> httpx.Response:
        """The response: whole if the application has ended, else a stream."""
        # Asked once: a stream may end at any moment.
        ended = self._call.ended.done()
        if ended:
            self._reraise()
        if self._start is None:
            if self._raise:
                raise AssertionError("The application ended without sending a response.")
            return httpx.Response(500, request=self._request, stream=httpx.ByteStream(b""))
        stream: Any = self
        if ended:
            stream = httpx.ByteStream(b"" if self._request.method == "HEAD" else b"".join(self._pieces))
        response = httpx.Response(
            self._start["status"],
            headers=self._start.get("headers", []),
            request=self._request,
            stream=stream,
        )
        if self._start.get("trailers"):
            response.extensions["http.response.trailers"] = self._trailers
        if self._debug is not None:
            response.extensions["http.response.debug"] = self._debug
            for name in {"template", "context"} & set(self._debug):
                setattr(response, name, self._debug[name])
        return response

    def __iter__(self) -> Iterator[bytes]:
        while True:
            wanted: Future[list[bytes]] = Future()
            self._loop.soon(self._read, wanted, otherwise=wanted.set_exception)
            pieces = self._loop.wait(wanted, f"the next piece of the response of {self._title}")
            if not pieces:
                return
            if self._request.method != "HEAD":
                yield from pieces

    def close(self) -> None:
        """Wait for the application to end; if its response is not complete, nobody wants the rest: cancel it."""
        if self._closed:
            return
        self._closed = True
        if not self._call.ended.done():
            self._loop.soon(self._disconnect, otherwise=self._failed)
            self._call.join()
        self._reraise()

    def abandon(self) -> None:
        """Cancel the application without waiting: the test was interrupted."""
        if not self._loop.ended:
            self._loop.soon(self._cancel, otherwise=self._failed)

    def _reraise(self) -> None:
        error = self._call.error()
        if error is not None and self._raise:
            raise error
        if error is not None:
            self._loop.swallowed = self._title, error

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._room = asyncio.Event()
        self._room.set()
        self._over = asyncio.Event()
        self._sent_body = False

    async def _serve(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    def _after(self) -> None:
        """The application has ended."""
        self._answer()
        if self._reader is not None:
            self._read(self._reader)

    def _failed(self, error: BaseException) -> None:
        """Something of this module has failed: whoever waits raises that."""
        for future in (self._available, self._reader):
            if future is not None and not future.done():
                future.set_exception(error)
        self._call.fail(error)

    async def _receive(self) -> Message:
        if not self._sent_body:
            self._sent_body = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                assert self._start is None, 'Received multiple "http.response.start" messages.'
                self._start = message
            case "http.response.body":
                assert self._start is not None, 'Received "http.response.body" without "http.response.start".'
                assert not self._complete, 'Received "http.response.body" after response completed.'
                await self._take(bytes(message.get("body", b"")), more=message.get("more_body", False))
            case "http.response.trailers":
                self._trailers.extend(message.get("headers", []))
                if not message.get("more_trailers", False):
                    self._over.set()
            case "http.response.debug":
                self._debug = message["info"]

    async def _take(self, piece: bytes, *, more: bool) -> None:
        if piece:
            self._pieces.append(piece)
        if not more:
            self._complete = True
            if not (self._start or {}).get("trailers"):
                self._over.set()
        elif not self._available.done():
            self._loop.loop.call_later(GRACE, self._answer)
        if self._reader is not None and self._pieces:
            self._read(self._reader)
        if len(self._pieces) >= WINDOW:
            self._answer()
            self._room.clear()
            await self._room.wait()

    def _answer(self) -> None:
        if not self._available.done():
            self._available.set_result(None)

    def _read(self, wanted: Future[list[bytes]]) -> None:
        """Give the reader what there is, or nothing when all is over, or let it wait."""
        if wanted.done():
            # It has given up. What there is stays for the next one.
            self._reader = None
        elif self._pieces or self._call.ended.done():
            self._reader = None
            pieces = list(self._pieces)
            self._pieces.clear()
            self._room.set()
            wanted.set_result(pieces)
        else:
            self._reader = wanted

    def _disconnect(self) -> None:
        if not self._over.is_set():
            self._cancel()

    def _cancel(self) -> None:
        self._over.set()
        self._room.set()
        self._call.cancel()


def _scope(stock: Transport, request: httpx.Request) -> dict[str, Any]:
    """The request as ASGI has it."""
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "path": unquote(url.path),
        "raw_path": url.raw_path.partition(b"?")[0],
        "root_path": stock.root_path,
        "scheme": url.scheme,
        "query_string": url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": client_of(stock),
        "server": [url.host, url.port or {"http": 80, "https": 443}[url.scheme]],
        "extensions": {"http.response.debug": {}, "http.response.trailers": {}},
        "state": stock.app_state.copy(),
    }
