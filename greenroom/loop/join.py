"""Making each `TestClient` of the process join the one loop.

Two live loops that share one pooled asyncpg engine do not only fail, they can crash the interpreter; and without `with`
a stock `TestClient` starts a new loop for each request.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from greenroom.loop.lifespan import Lifespan

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from starlette.testclient import TestClient

    from greenroom.loop.thread import Loop


def join(
    loop: Loop,
    suspended: Callable[[Any, dict[str, Any]], AbstractContextManager[None]],
    *,
    asynchronous: bool = False,
) -> Callable[[], None]:
    """Put all `TestClient`s on the loop, including existing ones.

    Args:
        loop: The loop.
        suspended: Takes an application and the state of its lifespan, and keeps its lifespan from being open twice while a test's own client holds
            it open with `with TestClient(app)`.
        asynchronous: Some may be used in an asynchronous test, which is on the loop itself.

    Returns:
        What undoes it.
    """
    from greenroom.loop.client import answer
    from greenroom.loop.websocket import on_loop
    from greenroom.private.starlette import (
        TestClient,
        Transport,
        WebSocketTestSession,
        patch,
        patch_portals,
        patch_transport,
        stock_portal,
        transport_of,
    )

    stock_enter = TestClient.__enter__
    stock_handle = Transport.handle_request

    @contextlib.contextmanager
    def portal_factory(self: TestClient) -> Iterator[BlockingPortal]:
        if self.async_backend["backend"] == "asyncio":
            yield loop.portal
        else:
            with stock_portal(self) as portal:
                yield portal

    def enter(self: TestClient) -> TestClient:
        if self.async_backend["backend"] != "asyncio":
            return stock_enter(self)
        with contextlib.ExitStack() as stack:
            stack.enter_context(suspended(self.app, self.app_state))
            self.portal = loop.portal
            stack.callback(setattr, self, "portal", None)
            lifespan = Lifespan(loop, self.app, self.app_state)
            lifespan.start()
            stack.callback(lifespan.stop)
            stack.callback(transport_of(self).close)
            # What TestClient.__exit__ closes.
            self.exit_stack = stack.pop_all()
        return self

    def handle(self: Transport, request: Any) -> Any:
        if loop.can_hop() and request.url.scheme not in ("ws", "wss"):
            # Starlette's own transport blocks the loop in the end.
            return answer(self, request, loop)
        return stock_handle(self, request)

    with contextlib.ExitStack() as undo:
        undo.callback(patch_portals(portal_factory))
        undo.callback(patch(portal=portal_factory, enter=enter, session=on_loop(loop, WebSocketTestSession)))
        if asynchronous:
            undo.callback(patch_transport(handle))
        return undo.pop_all().close
