"""Suites that were written for pytest-asyncio or anyio's plugin run on the one loop without an edit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.greenroom.conftest import ROOT, Project

FOLDER = "TOOLKIT_PYTEST_ASYNCIO"
"""The variable that names a folder with another pytest-asyncio, as `pip install --no-deps --target` makes it."""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose asynchronous tests greenroom runs."""
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    return project


def folders() -> list[Path | None]:
    """Where pytest-asyncio is; None if it is nowhere. The environment of these tests has none, as it would take part in each of their runs."""
    if named := os.environ.get(FOLDER):
        return [Path(named)]
    found = sorted(ROOT.glob(".greenroom/lab-*/lib/python*/site-packages/pytest_asyncio"))
    return [each.parent for each in found] or [None]


@pytest.fixture(
    params=folders(),
    ids=lambda folder: (
        next((part for part in folder.parts if part.startswith("lab-")), folder.name) if folder else "none"
    ),
)
def asyncio_shop(shop: Project, request: pytest.FixtureRequest) -> Project:
    """The same, with pytest-asyncio."""
    if request.param is None:
        pytest.skip(f"no pytest-asyncio: make lab, or {FOLDER}=…")
    for each in request.param.glob("pytest_asyncio*"):
        shutil.copytree(each, shop.root / each.name)
    return shop


SUITE = """
    import asyncio

    import pytest
    import pytest_asyncio
    from shop.main import create, new_session

    @pytest.fixture(scope="session")
    def event_loop():
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()

    @pytest_asyncio.fixture(scope="session")
    async def loop():
        return asyncio.get_running_loop()

    @pytest_asyncio.fixture
    def synchronous():
        return 3

    @pytest_asyncio.fixture
    async def customer(event_loop):
        async with new_session() as session:
            yield await create(session, "a")

    @pytest.mark.asyncio
    async def test_marked(loop, customer, synchronous, unused_tcp_port, run):
        assert asyncio.get_running_loop() is loop is await asyncio.to_thread(run, running())

    async def running():
        return asyncio.get_running_loop()

    @pytest.mark.asyncio(loop_scope="session")
    async def test_loop_scope(loop):
        assert asyncio.get_running_loop() is loop

    @pytest.mark.asyncio(scope="class")
    class TestScope:
        async def test_method(self, loop, customer):
            assert asyncio.get_running_loop() is loop

    def test_synchronous(loop, run, customer):
        assert run(running()) is loop
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio(asyncio_shop: Project, mode: str) -> None:
    """Its marks, fixtures, scopes and settings, and an `event_loop` of the suite's own, are taken as they are."""
    asyncio_shop.replace("pyproject.toml", 'filterwarnings = ["error"]', f'asyncio_mode = "{mode}"')
    result = asyncio_shop.passes(
        SUITE if mode == "strict" else SUITE.replace("pytest_asyncio.fixture", "pytest.fixture")
    )
    result.stdout.fnmatch_lines(
        ["greenroom: runs async tests and fixtures on the application's loop; pytest-asyncio is off, but for its fixtures;*"]
    )  # fmt: skip


def test_plugin_is_off(shop: Project) -> None:
    """No hook of pytest-asyncio is called, but its fixtures and options are there; whether it is loaded early or by a conftest."""
    shop.write(
        "pytest_asyncio/plugin.py",
        """
        import pytest

        def pytest_addoption(parser):
            parser.addini("asyncio_mode", "", default="strict")

        def pytest_configure(config):
            raise AssertionError("it is configured")

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            raise AssertionError("it takes part")

        @pytest.fixture
        def unused_tcp_port():
            return 80
        """,
    )
    shop.write("pytest_asyncio/__init__.py", "")
    shop.replace("pyproject.toml", "filterwarnings", 'asyncio_mode = "auto"\nfilterwarnings')
    tests = """
    import pytest

    @pytest.mark.asyncio
    async def test_it(unused_tcp_port):
        assert unused_tcp_port == 80
    """
    shop.passes(tests, "-p", "pytest_asyncio.plugin")
    shop.write("conftest.py", 'pytest_plugins = "pytest_asyncio.plugin"\n')
    shop.passes(tests)


ANYIO = """
    import asyncio

    import anyio
    import pytest
    import sniffio

    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="module")
    async def library(anyio_backend):
        async with anyio.create_task_group() as group:
            yield sniffio.current_async_library()
            group.cancel_scope.cancel()

    async def test_anyio(library, anyio_backend_name, run):
        assert library == anyio_backend_name == sniffio.current_async_library()
"""

ON_THE_LOOP = """
        if library == "asyncio":
            assert run(running()) is asyncio.get_running_loop()

    async def running():
        return asyncio.get_running_loop()
"""


@pytest.mark.parametrize("backend", ['"asyncio"', '("asyncio", {"debug": True})'])
def test_anyio(shop: Project, backend: str) -> None:
    """Tests and fixtures with anyio's asyncio backend, with options or without, run on the one loop."""
    result = shop.passes(
        ANYIO
        + ON_THE_LOOP
        + f"""
    @pytest.fixture(scope="session")
    def anyio_backend():
        return {backend}
    """,
        "-v",
    )
    assert "1 passed" in result.stdout.str()


def test_anyio_on_trio(shop: Project) -> None:
    """Those with the trio backend stay with anyio's plugin, also where they share a fixture with the others."""
    pytest.importorskip("trio", reason="make test-newest has it")
    result = shop.passes(
        ANYIO
        + ON_THE_LOOP
        + """
    @pytest.fixture(scope="module", params=["asyncio", "trio"])
    def anyio_backend(request):
        return request.param
    """
    )
    assert "2 passed" in result.stdout.str()


def test_marks_without_the_plugins(shop: Project) -> None:
    """The marks are known without the plugins, so that `--strict-markers` does not refuse them."""
    shop.passes(
        """
    import pytest

    @pytest.mark.asyncio(loop_scope="session")
    async def test_asyncio(run): ...

    @pytest.mark.anyio
    async def test_anyio(run): ...
    """,
        "-p",
        "no:anyio",
    )


def test_unittest_is_left_alone(shop: Project) -> None:
    """`IsolatedAsyncioTestCase` has a loop of its own, and keeps it."""
    shop.passes(
        """
    import asyncio
    import unittest

    class TestOwn(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            self.loop = asyncio.get_running_loop()

        async def test_it(self):
            assert asyncio.get_running_loop() is self.loop
    """
    )
