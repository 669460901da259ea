"""An event loop in a thread of its own, from the first use to the end of the run."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, TypeVar

import anyio
from anyio.from_thread import BlockingPortal
from sqlalchemy import Engine
from sqlalchemy.util import greenlet_spawn

from greenroom.diagnosis.loops import THREAD
from greenroom.errors import HangError
from greenroom.loop import waiting
from greenroom.loop.engines import Engines
from greenroom.loop.tasks import CALL, Tasks

T = TypeVar("T")

_LOOK: Final = 0.5
"""Seconds between two looks of one who waits: whether the loop's thread is still there, and whether the time is over."""

_ANSWER: Final = 1.0
"""Seconds that a loop has to show that it is not blocked."""

_CLIENTS: Final = "In an asynchronous test, take the client as a fixture, or use httpx.AsyncClient(transport=ASGITransport(app))."

_END: Final = 5.0
"""Seconds for closing the connections of the engines, and for what runs on the loop to end."""


class Loop:
    """An asyncio event loop in a background thread. It starts when it is first used.

    No wait for it is without an end: it ends with an error when the loop's thread has ended, or after `timeout`.

    Attributes:
        swallowed: The last request whose exception its client did not raise, and that exception. It explains the failure of a
            test that comes of it, and is forgotten with the test.
        broken: Why nothing more can run on the loop, once `trouble` has seen that.
        tasks: Those that calls have begun.
        engines: Those that may have connections.
        can_hop: Whether what runs now may wait for the loop although it is on it; never without `async_tests`.
        hop: Waits there.

    Args:
        timeout: Seconds that a test waits for what it has the loop do; 0 for no end.
    """

    def __init__(self, timeout: float = 0) -> None:
        self.timeout = timeout
        self.swallowed: tuple[str, BaseException] | None = None
        self.broken: HangError | None = None
        self.tasks = Tasks()
        self.engines = Engines()
        self.can_hop: Callable[[], bool] = lambda: False
        self.hop: Callable[[Future[Any], float], None] = lambda _future, _seconds: None
        self._hung = False
        self._thread: threading.Thread | None = None
        self._portal: BlockingPortal | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._death: BaseException | None = None

    # -- the thread --------------------------------------------------------------------------------------------------

    @property
    def portal(self) -> BlockingPortal:
        """Anyio's handle of the loop, as Starlette's `TestClient` takes it."""
        if self._portal is None:
            self._start()
        assert self._portal is not None
        return self._portal

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop itself."""
        if self._loop is None:
            self._start()
        assert self._loop is not None
        return self._loop

    def _start(self) -> None:
        ready: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]] = Future()
        # A daemon: what cannot be ended must not keep the process from ending.
        self._thread = threading.Thread(target=self._main, args=(ready,), name=THREAD, daemon=True)
        self._thread.start()
        # It is answered by _main in any case.
        self._portal, self._loop = ready.result()
        self._portal.call = self._portal_call  # type: ignore[method-assign,assignment]

    def _main(self, ready: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]) -> None:
        async def host() -> None:
            self.tasks.install(asyncio.get_running_loop())
            async with BlockingPortal() as portal:
                ready.set_result((portal, asyncio.get_running_loop()))
                await portal.sleep_until_stopped()

        try:
            anyio.run(host, backend="asyncio")
        except BaseException as error:  # noqa: BLE001 - such as a SystemExit, which ends a loop from any task
            self._death = error
            if not ready.done():
                ready.set_exception(error)

    def _portal_call(self, function: Callable[..., Any], *args: Any) -> Any:
        """`BlockingPortal.call`, which is made of the same call, with an end."""
        assert self._portal is not None
        name = getattr(function, "__qualname__", repr(function))
        if self.can_hop():
            # The portal refuses to be called from its own thread.
            return self.wait(asyncio.run_coroutine_threadsafe(_called(function, *args), self.loop), name)
        self._refuse("A TestClient's request")
        return self.wait(self._portal.start_task_soon(function, *args), name)

    # -- handing it work ---------------------------------------------------------------------------------------------

    def run(self, awaitable: Awaitable[T], *, what: str | None = None) -> T:
        """Run a coroutine on the loop and wait for it, or for what else can be awaited.

        The context variables of the caller are visible in it, and an exception comes with its whole traceback.

        Args:
            awaitable: What to run. It is cancelled if the wait is interrupted.
            what: Its name for the user; by default its function's.

        Raises:
            TypeError: It cannot be awaited.
            RuntimeError: The caller is itself on the loop, which would wait for itself for ever.
            HangError: It took too long, or the loop has ended.
        """
        if not inspect.isawaitable(awaitable):
            raise TypeError(f"run() takes a coroutine, such as run(service.create(…)). Found: {awaitable!r}.")
        coroutine = awaitable if asyncio.iscoroutine(awaitable) else awaited(awaitable)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not None and not self.can_hop():
            coroutine.close()
            raise RuntimeError(
                "run() was called in asynchronous code, where the loop would wait for itself. Await the coroutine there."
            )
        if self.ended:
            coroutine.close()
            raise self._ended_error()
        title = what or f"run({getattr(coroutine, '__qualname__', '…')}())"
        token = CALL.set("" if what else title)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        finally:
            CALL.reset(token)
        return self.wait(future, title)

    def soon(
        self, action: Callable[..., None], *args: Any, otherwise: Callable[[BaseException], None]
    ) -> None:
        """Call a function on the loop, without waiting for it.

        Args:
            action: The function.
            args: Its arguments.
            otherwise: Takes what it raises, and tells those who wait: else nobody would.

        Raises:
            HangError: The loop has ended.
        """

        def guarded() -> None:
            try:
                action(*args)
            except BaseException as error:  # noqa: BLE001 - the one who waits raises it
                otherwise(error)

        try:
            self.loop.call_soon_threadsafe(guarded)
        except RuntimeError:
            raise self._ended_error() from self._death

    def wait(self, future: Future[T], what: str, *, at_least: float = 0) -> T:
        """The result of what runs on the loop; it is cancelled if the wait ends before that.

        Args:
            future: What is waited for.
            what: Its name, for the error.
            at_least: Seconds that it has, whatever the timeout is.

        Raises:
            HangError: It took too long, or the loop has ended. Not while a debugger holds the loop.
        """
        __tracebackhide__ = True
        hops = self.can_hop()
        if not hops:
            self._refuse(what)
        bound, waited = self.timeout and max(self.timeout, at_least), 0.0
        try:
            while True:
                pause = min(_LOOK, max(bound - waited, 0.01)) if bound else _LOOK
                if hops:
                    self.hop(future, pause)
                try:
                    return future.result(0 if hops else pause)
                except TimeoutError:
                    # It may be an error of its own, or it has come at this very moment.
                    if future.done():
                        break
                waited += pause
                self._look(future, what, waited, bound)
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _refuse(self, what: str) -> None:
        """Refuse to wait on the loop's own thread."""
        __tracebackhide__ = True
        if self._thread is threading.current_thread():
            raise RuntimeError(
                f"{what} was waited for in asynchronous code, where the loop would wait for itself. {_CLIENTS}"
            )

    def _look(self, future: Future[Any], what: str, waited: float, bound: float) -> None:
        """Raise if there is nothing more to wait for, and say where the application is."""
        __tracebackhide__ = True
        if self.ended and not future.done():
            raise self._ended_error() from self._death
        if not bound or waited < bound:
            return
        blocked = self.blocked()
        if future.done() or (blocked is not None and waiting.debugged(blocked)):
            return
        self._hung = True
        raise HangError(
            f"{what} did not end within {bound:g} s. "
            + (waiting.where_blocked(blocked) if blocked is not None else waiting.where_waiting(self.loop)),
            hint="if it may take longer: timeout = 300 in [tool.greenroom]; 0 waits without an end",
        )

    # -- what it does ------------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the loop has ended without having been closed."""
        return self._thread is not None and not self._thread.is_alive()

    def dies(self) -> bool:
        """Whether the loop is about to end, or has ended: it cancels all tasks before it does."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(0.2)
        return self.ended

    def blocked(self) -> threading.Thread | None:
        """The loop's thread if it does not come round to its tasks, because a call blocks it."""
        if self._thread is None or self.ended:
            return None
        answered = threading.Event()
        with contextlib.suppress(RuntimeError):  # it has just ended
            self.loop.call_soon_threadsafe(answered.set)
        return None if answered.wait(_ANSWER) or self.ended else self._thread

    def trouble(self) -> HangError | None:
        """Return why nothing more can run on the loop, or None if it can. Costs nothing if every wait has ended well."""
        hung, self._hung = self._hung, False
        if self.ended:
            self.broken = self._ended_error()
        elif hung and (blocked := self.blocked()) is not None:
            self.broken = HangError(waiting.where_blocked(blocked))
        return self.broken

    def _ended_error(self) -> HangError:
        cause = f": {type(self._death).__name__}({self._death})" if self._death is not None else ""
        return HangError(
            f"The event loop of the application has ended in the middle of the run{cause}. An exception such as "
            f"SystemExit or KeyboardInterrupt, raised in a task or a callback of the application, ends the whole loop.",
            hint="raise an ordinary exception there; sys.exit() belongs into a program's main function",
        )

    # -- its end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Dispose the engines that were used on the loop, cancel what still runs on it, and end it.

        Raises:
            HangError: Something on it does not end. It is left to itself, and ends with the process.
        """
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._portal is None:
            return
        loop, portal = self._loop, self._portal
        self._portal = self._loop = None
        if not thread.is_alive():
            return
        if self.broken is None:
            self._wind_up(loop, portal)
        thread.join(_END if self.broken is None else _ANSWER)
        if thread.is_alive():
            where = waiting.where_waiting(loop)
            # Ends it where tasks swallow their cancellation, not where a call blocks it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)
            thread.join(_ANSWER)
            if thread.is_alive():
                where = waiting.where_blocked(thread)
            raise HangError(f"The event loop of the application did not end with the run. {where}")

    def _wind_up(self, loop: asyncio.AbstractEventLoop, portal: BlockingPortal) -> None:
        """Close connections, and cancel the tasks."""
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(_dispose(self.engines.connected()), loop).result(_END)
        with contextlib.suppress(Exception):
            # A task that waits for ever must not keep the run from ending.
            portal.start_task_soon(partial(portal.stop, cancel_remaining=True)).result(_END)

    def dispose_engines(self, database: str | None = None) -> None:
        """Close the pooled connections of the process's SQLAlchemy engines, asynchronous ones on their loop.

        The engines stay usable: the next checkout opens a new connection.

        Args:
            database: Only of engines to this database, synchronous ones included; by default all asynchronous ones.

        Raises:
            HangError: They cannot be closed.
        """
        engines = [each for each in self.engines.connected() if database in (None, each.url.database)]
        if self._thread is not None and any(each.dialect.is_async for each in engines):
            self.run(_dispose(engines), what="closing the application's pooled connections")
        if database is not None:
            for each in engines:
                if not each.dialect.is_async:
                    each.dispose()


async def awaited(awaitable: Awaitable[T]) -> T:
    """A coroutine that awaits something."""
    return await awaitable


async def _called(function: Callable[..., Any], *args: Any) -> Any:
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


async def _dispose(engines: list[Engine]) -> None:
    for engine in engines:
        if engine.dialect.is_async:
            # As AsyncEngine.dispose() does it. Another AsyncEngine around this one would take the place of the application's.
            await greenlet_spawn(engine.dispose)
