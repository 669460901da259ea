"""Starlette 0.37 to 1.x: its `TestClient`. All that is patched there is patched here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette import _exception_handler, testclient
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.testclient import _TestClientTransport as Transport

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    # What its own client is made of: httpx before 1.2, since then httpx2, or httpx where that is not installed. Both may be
    # there, and the classes of one are not those of the other.
    httpx = testclient.httpx

__all__ = [
    "TestClient", "Transport", "WebSocketTestSession", "client_of", "httpx", "patch", "patch_portals",
    "patch_transport", "replace_transport", "stock_portal", "transport_of", "watch_handlers",
]  # fmt: skip

stock_portal = TestClient._portal_factory  # noqa: SLF001
"""Starlette's own way to a loop: the client's, or a new one for each request."""


def client_of(transport: Transport) -> tuple[str, int]:
    """The address that requests come from. Before 0.44 it cannot be chosen."""
    chosen: tuple[str, int] = getattr(transport, "client", ("testclient", 50000))
    return chosen


def transport_of(client: TestClient) -> Any:
    """What sends the requests of a client: a `Transport`, unless somebody has replaced it."""
    return client._transport  # noqa: SLF001


def replace_transport(client: TestClient, transport: httpx.BaseTransport) -> None:
    """Have another transport send the requests of a client."""
    client._transport = transport  # noqa: SLF001


def patch(
    *,
    portal: Any = None,
    enter: Any = None,
    send: Any = None,
    session: type[WebSocketTestSession] | None = None,
) -> Callable[[], None]:
    """Replace parts of each `TestClient`. Returns what puts them back.

    Args:
        portal: The context manager that yields the portal to the loop of one request.
        enter: `__enter__`, which opens the lifespan.
        send: `send`, which every request goes through.
        session: The class of WebSocket sessions.
    """
    new = {"_portal_factory": portal, "__enter__": enter, "send": send}
    before = {name: vars(TestClient).get(name) for name, value in new.items() if value is not None}
    for name in before:
        setattr(TestClient, name, new[name])
    stock = testclient.WebSocketTestSession
    if session is not None:
        testclient.WebSocketTestSession = session  # type: ignore[misc]

    def undo() -> None:
        for name, value in before.items():
            if value is None:
                delattr(TestClient, name)  # it is inherited
            else:
                setattr(TestClient, name, value)
        if session is not None:
            testclient.WebSocketTestSession = stock  # type: ignore[misc]

    return undo


def patch_transport(handle: Any) -> Callable[[], None]:
    """Replace `handle_request` of the transport of each `TestClient`. Returns what puts it back."""
    stock = Transport.handle_request
    Transport.handle_request = handle  # type: ignore[method-assign]
    return partial(setattr, Transport, "handle_request", stock)


def patch_portals(portal: Any) -> Callable[[], None]:
    """Replace the way to a loop of clients that are made already. Returns what puts it back. Called before `patch`.

    Their transports hold on to the one they were made with, so it is replaced where they look it up: to search the memory for
    the clients takes up to a tenth of a second.

    Args:
        portal: As for `patch`.
    """
    until_now = (stock_portal, TestClient._portal_factory)  # noqa: SLF001

    def get(transport: Transport) -> Any:
        made_with = vars(transport)["portal_factory"]
        is_own = getattr(made_with, "__func__", None) in until_now
        return portal.__get__(made_with.__self__) if is_own else made_with

    def put(transport: Transport, value: Any) -> None:
        vars(transport)["portal_factory"] = value

    before = vars(Transport).get("portal_factory")
    Transport.portal_factory = property(get, put)  # type: ignore[assignment]

    def undo() -> None:
        if before is None:
            delattr(Transport, "portal_factory")
        else:
            Transport.portal_factory = before

    return undo


def watch_handlers(note: Callable[[BaseException, Any], None]) -> Callable[[], None]:
    """Tell of each error that an endpoint raised, and of the handler that there is for it. Returns what ends it.

    Args:
        note: Takes the error, and the handler or None.
    """
    stock = _exception_handler._lookup_exception_handler  # noqa: SLF001

    def look_up(handlers: Any, error: Exception) -> Any:
        handler = stock(handlers, error)
        note(error, handler)
        return handler

    _exception_handler._lookup_exception_handler = look_up  # type: ignore[assignment]  # noqa: SLF001

    def undo() -> None:
        _exception_handler._lookup_exception_handler = stock  # noqa: SLF001

    return undo
