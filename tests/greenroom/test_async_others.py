"""Asynchronous tests beside the plugins and helpers that many suites have. Each test is skipped where its package is not installed."""

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

    import pytest
    from shop.main import app, create, events, new_session
    from sqlalchemy import select
    from shop.models import Customer
    from starlette.testclient import httpx

    async def names(session):
        return list(await session.scalars(select(Customer.name)))

"""


def test_lifespan_manager(shop: Project) -> None:
    """`LifespanManager` opens the lifespan on the one loop, and never a second one beside that of `client`."""
    pytest.importorskip("asgi_lifespan")
    shop.passes(
        TESTS
        + """
    from asgi_lifespan import LifespanManager

    @pytest.fixture
    async def http():
        async with LifespanManager(app) as manager:
            transport = httpx.ASGITransport(manager.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                yield client

    def test_of_the_run(client):
        assert events == ["up"]

    async def test_managed(http):
        assert events == ["up", "down", "up"]
        answer = (await http.get("/loop")).json()
        assert answer["lifespan"] == id(asyncio.get_running_loop())

    def test_of_the_run_again(client):
        assert events == ["up", "down"] * 2 + ["up"]

    async def test_beside_the_client(http, client):
        assert events == ["up", "down"] * 3 + ["up"]
        assert client.get("/customers").json() == (await http.get("/customers")).json() == []
    """
    )


def test_hypothesis(shop: Project) -> None:
    """Each example of an asynchronous test runs on the one loop; one that fails is shrunk and shown."""
    pytest.importorskip("hypothesis")
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    from hypothesis import HealthCheck, given, settings, strategies as st

    seen = []
    few = settings(
        max_examples=5, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )

    @few
    @given(number=st.integers())
    async def test_passes(async_session, number):
        seen.append((number, asyncio.get_running_loop()))
        name = str(len(seen))
        assert (await create(async_session, name)).name in await names(async_session)

    async def test_on_the_loop(async_session):
        assert len(seen) == 5
        assert {loop for _, loop in seen} == {asyncio.get_running_loop()}
        assert await names(async_session) == []

    @few
    @given(number=st.integers())
    async def test_fails(number):
        await asyncio.sleep(0)
        assert number < 0
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E *test_fails(", "E *number=0,"])


def test_rerunfailures(shop: Project) -> None:
    """A test that is run again has its asynchronous fixtures set up again, and a database that is rewound."""
    pytest.importorskip("pytest_rerunfailures")
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    told = []

    @pytest.fixture
    async def fixture(async_session):
        told.append("set up")
        yield await create(async_session, "fixture")
        told.append("torn down")

    @pytest.mark.flaky(reruns=2)
    async def test_flaky(fixture, async_session):
        assert await names(async_session) == ["fixture"]
        await create(async_session, "test")
        assert len(told) == 3

    async def test_after(async_session):
        assert told == ["set up", "torn down"] * 2
        assert await names(async_session) == []
    """,
    )
    result = shop.pytest("tests/test_it.py")
    outcomes = result.parseoutcomes()
    assert outcomes == {"passed": 2, "rerun": 1}, result.stdout.str()


def test_timeout(shop: Project) -> None:
    """pytest-timeout ends an asynchronous test, whose task is cancelled, and the next one has the loop and the database."""
    pytest.importorskip("pytest_timeout")
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    told = []

    @pytest.mark.timeout(1, method="signal")
    async def test_hangs(async_session):
        await create(async_session, "hangs")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    @pytest.mark.timeout(60, method="signal")
    async def test_after(async_session):
        assert told == ["cancelled"]
        assert await names(async_session) == []
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Failed: Timeout*1.0s*"])
