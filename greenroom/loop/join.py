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
from greenroom.loop.thread import instances

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from starlette.testclient import TestClient

    from greenroom.loop.thread import Loop


def join(
    loop: Loop, suspended: Callable[[Any, dict[str, Any]], AbstractContextManager[None]]
) -> Callable[[], None]:
    """Put all `TestClient`s, also those that are made already, on the loop.

    Args:
        loop: The loop.
        suspended: Takes an application and the state of its lifespan, and keeps its lifespan from being open twice while a test's own client holds
            it open with `with TestClient(app)`.

    Returns:
        What undoes it.
    """
    from starlette.testclient import TestClient, _TestClientTransport

    stock_factory, stock_enter = TestClient._portal_factory, TestClient.__enter__  # noqa: SLF001 - the seam

    @contextlib.contextmanager
    def portal_factory(self: TestClient) -> Iterator[BlockingPortal]:
        if self.async_backend["backend"] == "asyncio":
            yield loop.portal
        else:
            with stock_factory(self) as portal:
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
            stack.callback(self._transport.close)
            # What TestClient.__exit__ closes.
            self.exit_stack = stack.pop_all()
        return self

    for made in instances(TestClient):
        # Its transport holds on to the factory that it was made with.
        if isinstance(made._transport, _TestClientTransport):  # noqa: SLF001
            made._transport.portal_factory = portal_factory.__get__(made)  # noqa: SLF001
    TestClient._portal_factory = portal_factory  # type: ignore[method-assign]  # noqa: SLF001
    TestClient.__enter__ = enter  # type: ignore[method-assign,assignment]

    def leave() -> None:
        TestClient._portal_factory = stock_factory  # type: ignore[method-assign]  # noqa: SLF001
        TestClient.__enter__ = stock_enter  # type: ignore[method-assign]

    return leave
