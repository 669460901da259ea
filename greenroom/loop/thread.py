"""An event loop in a thread of its own, from the first use to the end of the run."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from sqlalchemy import Engine

T = TypeVar("T")


class Loop:
    """An asyncio event loop in a background thread. It starts when it is first used.

    Attributes:
        swallowed: The last request whose exception its client did not raise, and that exception. It explains the failure of a
            test that comes of it, and is forgotten with the test.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._portal: BlockingPortal | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.swallowed: tuple[str, BaseException] | None = None

    @property
    def portal(self) -> BlockingPortal:
        """Anyio's handle of the loop, as Starlette's `TestClient` takes it."""
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal("asyncio", name="greenroom loop"))
        return self._portal

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop itself, for `call_soon_threadsafe`."""
        if self._loop is None:
            self._loop = self.portal.call(asyncio.get_running_loop)
        return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it.

        The context variables of the caller are visible in it, and an exception comes with its whole traceback.

        Args:
            coroutine: What to run. It is cancelled if the wait is interrupted.

        Raises:
            TypeError: It is not a coroutine.
            RuntimeError: The caller is itself on the loop, which would wait for itself for ever.
        """
        if not asyncio.iscoroutine(coroutine):
            raise TypeError(f"run() takes a coroutine, such as run(service.create(…)). Found: {coroutine!r}.")
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not None:
            coroutine.close()
            raise RuntimeError(
                "run() was called in asynchronous code, where the loop would wait for itself. Await the coroutine there."
            )
        return self.wait(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    @staticmethod
    def wait(future: Future[T]) -> T:
        """The result of what runs on the loop; it is cancelled if the wait is interrupted."""
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Dispose the engines that were used on the loop, cancel what still runs on it, and end it."""
        if self._portal is None:
            return
        with contextlib.suppress(Exception):
            self.dispose_engines()
        # A task that waits for ever must not keep the run from ending.
        self._portal.call(partial(self._portal.stop, cancel_remaining=True))
        self._stack.close()
        self._portal = self._loop = None

    def dispose_engines(self, database: str | None = None) -> None:
        """Close the pooled connections of the process's SQLAlchemy engines, asynchronous ones on their loop.

        The engines stay usable: the next checkout connects anew.

        Args:
            database: Only of engines to this database, synchronous ones included; by default all asynchronous ones.
        """
        if "sqlalchemy.ext.asyncio" in sys.modules:
            from sqlalchemy.ext.asyncio import AsyncEngine

            for engine in instances(AsyncEngine):
                if database in (None, engine.url.database):
                    self.run(engine.dispose())
        if database is not None:
            for sync_engine in instances(Engine):
                if sync_engine.url.database == database and not sync_engine.dialect.is_async:
                    sync_engine.dispose()


def instances(kind: type[T]) -> list[T]:
    """All objects of a type or its subtypes. By type(), since isinstance() wakes up proxies and mocks."""
    return [found for found in gc.get_objects() if issubclass(type(found), kind)]
