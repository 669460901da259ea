"""The lifespan of an application that asynchronous tests open themselves: never while the run's own is open.

`asgi_lifespan.LifespanManager(app)`, `async with app.router.lifespan_context(app)` and a server in the test's process all open
it at the same place, which is replaced.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from greenroom.loop.lifespan import OWN


def make_exclusive(app: Any, suspend: Callable[[], Awaitable[None]], held: list[dict[str, Any]]) -> None:
    """Shut the run's own lifespan down before another one is opened.

    Args:
        app: The application. One that is not of Starlette's making stays as it is.
        suspend: Shuts the run's own lifespan down, if it is open.
        held: Gets the state of the open one, for as long as it is open.
    """
    router = getattr(app, "router", None)
    stock: Callable[[Any], AbstractAsyncContextManager[Any]] | None = getattr(
        router, "lifespan_context", None
    )
    if stock is None:
        return

    @contextlib.asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        if OWN.get():
            async with stock(application) as state:
                yield state
            return
        await suspend()
        async with stock(application) as state:
            kept = dict(state or {})
            held.append(kept)
            try:
                yield state
            finally:
                held[:] = [each for each in held if each is not kept]

    router.lifespan_context = lifespan  # type: ignore[union-attr]  # it has the attribute
