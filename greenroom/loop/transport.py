"""Requests over `httpx.ASGITransport`, by which asynchronous tests reach the application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from greenroom.loop.tasks import CALL


def scoped(transport: Any, scope: Callable[[str], AbstractContextManager[None]]) -> Callable[[], None]:
    """Make each request a call of its own: its queries count together, and the tasks that it begins are named after it.

    Args:
        transport: The class.
        scope: Makes what is done in it belong to one request.

    Returns:
        What undoes it.
    """
    stock = transport.handle_async_request

    async def handle_async_request(self: Any, request: Any) -> Any:
        title = f"{request.method} {request.url.path}"
        token = CALL.set(title)
        try:
            with scope(title):
                return await stock(self, request)
        finally:
            CALL.reset(token)

    transport.handle_async_request = handle_async_request
    return partial(setattr, transport, "handle_async_request", stock)
