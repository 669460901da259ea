"""Asynchronous tests and fixtures on the one loop, with `async_tests = true`."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose asynchronous tests greenroom runs."""
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    return project


TESTS = """
    import asyncio
    import contextvars

    import pytest
    from shop.main import create, engine, new_session
    from sqlalchemy import text

"""


def test_one_loop(shop: Project) -> None:
    """Tests, fixtures of each scope, methods, `run` and the application are on the same loop, and rewound."""
    shop.passes(
        TESTS
        + """
    @pytest.fixture(scope="session")
    async def loop():
        return asyncio.get_running_loop()

    @pytest.fixture(scope="module", autouse=True)
    async def in_module(loop):
        assert asyncio.get_running_loop() is loop
        yield
        assert asyncio.get_running_loop() is loop

    @pytest.fixture(params=["a", "b"])
    async def customer(request, loop):
        assert asyncio.get_running_loop() is loop
        async with new_session() as session:
            yield await create(session, request.param)

    async def names():
        async with engine.connect() as connection:
            return list(await connection.scalars(text("SELECT name FROM customers")))

    async def test_function(loop, customer):
        assert asyncio.get_running_loop() is loop
        assert await names() == [customer.name]

    @pytest.mark.parametrize("number", range(2))
    async def test_parametrized(number):
        assert await names() == []
        async with new_session() as session:
            await create(session, str(number))

    class TestMethods:
        @pytest.fixture
        async def own(self):
            self.value = 3
            yield 4

        @pytest.fixture(scope="class")
        @staticmethod
        async def of_class():
            return 5

        async def test_method(self, own, of_class, loop):
            assert asyncio.get_running_loop() is loop
            assert (self.value, own, of_class) == (3, 4, 5)

        @staticmethod
        async def test_static(loop):
            assert asyncio.get_running_loop() is loop

    def test_synchronous(run, customer, loop, request):
        async def running():
            return asyncio.get_running_loop()

        assert run(running()) is loop
        assert run(names()) == [customer.name]
        assert request.getfixturevalue("later") == 6

    @pytest.fixture
    async def later():
        await asyncio.sleep(0)
        return 6

    async def test_asked_for_in_the_test(request):
        assert request.getfixturevalue("later") == 6

    async def test_async_session(async_session):
        await create(async_session, "c")
        assert await names() == ["c"]
    """
    )


def test_same_task(shop: Project) -> None:
    """A fixture's setup and teardown are in one task: task groups and timeouts go across its `yield`."""
    shop.passes(
        TESTS
        + """
    import anyio

    left = []

    @pytest.fixture(scope="module")
    async def group():
        async with anyio.create_task_group() as group, asyncio.timeout(60):
            task = asyncio.current_task()
            group.start_soon(anyio.sleep, 60)
            yield group
            assert asyncio.current_task() is task
            group.cancel_scope.cancel()
        left.append("group")

    @pytest.fixture
    async def brief():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                yield
        left.append("brief")

    async def test_group(group):
        assert not group.cancel_scope.cancel_called

    async def test_timeout(group, brief):
        await asyncio.sleep(0.05)
        assert left == ["brief"]
    """
    )


def test_context_variables(shop: Project) -> None:
    """They flow between synchronous and asynchronous fixtures and the test, into the teardown, and not into the next test."""
    shop.passes(
        TESTS
        + """
    of_module, a, b, c = (contextvars.ContextVar(name, default="") for name in "mabc")

    @pytest.fixture(scope="module")
    async def module():
        token = of_module.set("module")
        yield
        of_module.reset(token)

    @pytest.fixture
    async def first(module):
        token = a.set("first")
        yield
        assert c.get() == "test"
        a.reset(token)

    @pytest.fixture
    def second(first):
        assert (of_module.get(), a.get()) == ("module", "first")
        token = b.set("second")
        yield
        assert (a.get(), b.get(), c.get()) == ("first", "second", "test")
        b.reset(token)

    @pytest.fixture
    async def third(second):
        assert b.get() == "second"

    @pytest.mark.parametrize("number", range(2))
    async def test_async(third, number):
        assert (of_module.get(), a.get(), b.get(), c.get()) == ("module", "first", "second", "")
        c.set("test")

    def test_sync(module):
        assert (of_module.get(), a.get(), b.get(), c.get()) == ("module", "", "", "")

    async def test_next():
        assert (a.get(), b.get(), c.get()) == ("", "", "")
    """
    )


def test_synchronous_client(shop: Project) -> None:
    """A synchronous client works in an asynchronous test: greenroom's, `run`, and `TestClient` with and without `with`."""
    shop.passes(
        TESTS
        + """
    from shop.main import app, events
    from starlette.testclient import TestClient

    @pytest.fixture
    async def made(client):
        await asyncio.sleep(0)
        assert client.post("/customers/a").status_code == 201
        yield
        assert client.get("/customers").json() == ["a", "b"]

    async def test_client(client, made, async_session, run):
        await create(async_session, "b")
        assert client.get("/customers").json() == ["a", "b"]
        loops = client.get("/loop").json()
        assert loops["loop"] == loops["lifespan"] == id(asyncio.get_running_loop())
        assert run(asyncio.sleep(0, 3)) == 3
        with client.stream("GET", "/stream") as response:
            assert next(response.iter_lines()) == "0"

    async def test_own_client():
        assert TestClient(app).get("/customers").json() == []
        with TestClient(app) as client:
            assert client.get("/loop").json()["lifespan"] == id(asyncio.get_running_loop())
            with client.websocket_connect("/echo") as socket:
                socket.send_text("c")
                assert socket.receive_json() == ["c"]
        await asyncio.sleep(0)

    def test_lifespan_is_open_once():
        for number, event in enumerate(events):
            assert event in (("up", "down")[number % 2], "stream closed") or "stream closed" in events
    """
    )


def test_sessions_of_wider_fixtures(shop: Project) -> None:
    """What a fixture of wider scope has written is there for each test, and its asynchronous session is rolled back after each."""
    shop.passes(
        TESTS
        + """
    from shop.models import Customer
    from sqlalchemy import select

    @pytest.fixture(scope="module")
    async def wide():
        async with new_session() as session:
            await create(session, "wide")
            yield session

    @pytest.mark.parametrize("number", range(3))
    async def test_it(wide, number):
        assert list(await wide.scalars(select(Customer.name))) == ["wide"]
        wide.add(Customer(name=f"flushed {number}"))
        await wide.flush()
        async with new_session() as session:
            await create(session, f"committed {number}")
        assert len(list(await wide.scalars(select(Customer.name)))) == 3
    """
    )
