"""Asynchronous tests and fixtures on the one loop, with `async_tests = true`.

An asynchronous function is replaced by a synchronous one for as long as pytest calls it. So whatever else deals with
asynchronous functions finds none: anyio's plugin leaves them alone, and takes those of other backends. pytest-asyncio
is switched off, as it would mark, wrap and make loops for all of them; its fixtures and its settings stay.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from greenroom.loop import hop
from greenroom.loop.context import Carried
from greenroom.loop.held import Held, YieldError
from greenroom.loop.transport import scoped
from greenroom.private.pytest import active_fixture, function_of

if TYPE_CHECKING:
    from greenroom.worker import Worker

_MARKERS: Final = (
    "asyncio: an asynchronous test; greenroom runs it on the application's loop",
    "anyio: an asynchronous test; greenroom runs it on the application's loop if its backend is asyncio",
)

_CLIENTS: Final = {"httpx", "httpx2"}

_BACKEND: Final = "anyio_backend"

_SYNCHRONOUS: Final = frozenset({"TestClient", "request", "run"})
"""By these names a test or fixture gets something that may wait for the loop, while it is on it."""


class Asynchronous:
    """Runs asynchronous tests and fixtures.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._loop = worker.loop
        self._loop.can_hop, self._loop.hop = hop.possible, hop.wait
        self._item: pytest.Item | None = None
        self._context = Context()
        self._carried = Carried()
        self._known: set[str] = set()
        self._switched_off = ""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Register the markers of those whose tests these may be: their plugins need not be there."""
        for marker in _MARKERS:
            config.addinivalue_line("markers", marker)

    def pytest_plugin_registered(self, plugin: object, manager: pytest.PytestPluginManager) -> None:
        """Switch pytest-asyncio off, also where it is loaded later."""
        if getattr(plugin, "__name__", "") == "pytest_asyncio.plugin" and manager.is_registered(plugin):
            manager.unregister(plugin)
            self._switched_off = "; pytest-asyncio is off, but for its fixtures"

    def pytest_report_header(self) -> str:
        """Say who runs asynchronous tests."""
        return (
            f"greenroom: runs async tests and fixtures on the application's loop{self._switched_off}; "
            "anyio's on other backends stay with anyio"
        )

    def pytest_runtest_setup(self) -> None:
        """Have each request over `httpx.ASGITransport` count by itself, once httpx is imported."""
        for name in _CLIENTS - self._known:
            if (transport := getattr(sys.modules.get(name), "ASGITransport", None)) is not None:
                self._known.add(name)
                self._worker.on_close(scoped(transport, self._worker.watch.scope))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Have pytest set up a synchronous function in the place of an asynchronous one."""
        if isinstance(request.node, pytest.Item) and self._item is not request.node:
            self._begin(request.node)
        function = fixturedef.func
        if not _is_asynchronous(function) or self._is_anothers(fixturedef, request):
            return (yield)
        fixturedef.func = self._fixture(function_of(fixturedef, request), request)  # type: ignore[misc]
        try:
            return (yield)
        finally:
            fixturedef.func = function  # type: ignore[misc]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        """Have pytest call a synchronous function in the place of an asynchronous test."""
        function = pyfuncitem.obj
        if _backend(pyfuncitem.funcargs.get(_BACKEND)) != "asyncio":
            return (yield)
        if self._item is not pyfuncitem:
            self._begin(pyfuncitem)
        example = getattr(function, "hypothesis", None)
        if example is not None and inspect.iscoroutinefunction(example.inner_test):
            with _replaced(example, "inner_test", self._test(example.inner_test, pyfuncitem)):
                return (yield)
        if not inspect.iscoroutinefunction(function):
            return (yield)
        with _replaced(pyfuncitem, "obj", self._test(function, pyfuncitem)):
            return (yield)

    # -- tests -------------------------------------------------------------------------------------------------------

    def _begin(self, item: pytest.Item) -> None:
        """A test begins: it and its own fixtures share their context variables."""
        self._item = item
        self._context = copy_context()
        self._carried = Carried()
        # The first of the test's own finalizers is called last.
        item.addfinalizer(self._carried.put_back)

    def _test(self, function: Callable[..., Any], item: pytest.Function) -> Callable[..., None]:
        @functools.wraps(function)
        def test(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            through = _through(function, kwargs)
            held = Held(self._loop, item.name, call=item.name, context=self._context, through=through)
            try:
                held.begin(partial(function, *args, **kwargs))
            finally:
                self._carried.into_main(self._context)

        return _plain(test)

    # -- fixtures ----------------------------------------------------------------------------------------------------

    def _fixture(self, function: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
        own = isinstance(request.node, pytest.Item)
        title = f"the fixture {request.fixturename}"

        @functools.wraps(function)
        def fixture(**kwargs: Any) -> Any:
            __tracebackhide__ = True
            context = self._context if own else copy_context()
            carried = self._carried if own else Carried()
            # Tasks of a fixture of wider scope are its own: they go on for as long as it lives.
            call = title if own else ""
            held = Held(self._loop, title, call=call, context=context, through=_through(function, kwargs))

            def end() -> None:
                __tracebackhide__ = True
                try:
                    with _told(function):
                        held.end()
                finally:
                    carried.into_main(context)
                    if not own:
                        carried.put_back()

            try:
                with _told(function):
                    value = held.begin(partial(function, **kwargs))
            finally:
                carried.into_main(context)
            request.addfinalizer(end)
            return value

        return _plain(fixture)

    @staticmethod
    def _is_anothers(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
        """Whether a fixture is for a test that anyio runs on another backend."""
        if _BACKEND not in request.fixturenames or getattr(fixturedef.func, "_force_asyncio_fixture", False):
            return False
        backend = request.getfixturevalue(_BACKEND)
        # What is set up for one backend is none for the next.
        active_fixture(request, _BACKEND).addfinalizer(partial(fixturedef.finish, request=request))  # type: ignore[arg-type]
        return _backend(backend) != "asyncio"


def _is_asynchronous(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _backend(value: Any) -> str:
    """The name of an anyio backend, which may come with options; that of a test without one is asyncio."""
    name: Any = value[0] if isinstance(value, tuple) and value else value
    return name if isinstance(name, str) else "asyncio"


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Without `__wrapped__`, by which others would find the asynchronous function."""
    del function.__wrapped__  # type: ignore[attr-defined]
    return function


@contextmanager
def _replaced(target: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)


@contextmanager
def _told(function: Callable[..., Any]) -> Iterator[None]:
    """Say where the fixture is that does not yield once, and not where that was noticed."""
    __tracebackhide__ = True
    try:
        yield
    except YieldError as error:
        code = inspect.unwrap(function).__code__
        pytest.fail(f"greenroom: {error}: {code.co_filename}:{code.co_firstlineno}", pytrace=False)


async def _directly(awaited: Any) -> Any:
    return await awaited


def _through(function: Any, arguments: dict[str, Any]) -> Callable[[Any], Awaitable[Any]]:
    """How a function's steps are awaited: where it may use a synchronous client, so that the loop serves that meanwhile."""
    known = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__globals__", {})
    kinds = {
        kind.__name__ for value in (*arguments.values(), *known.values()) for kind in type(value).__mro__
    }
    return hop.Hopping if {*arguments, *known, *kinds} & _SYNCHRONOUS else _directly
