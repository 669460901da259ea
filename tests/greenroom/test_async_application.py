"""The application in asynchronous tests: over httpx, its lifespan, its queries and its tasks."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import ROOT, Project
from tests.greenroom.pages import blocks_of


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose asynchronous tests greenroom runs."""
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    return project


TESTS = """
    import asyncio

    import pytest
    from shop.main import app, create, events, new_session
    from starlette.testclient import httpx

    @pytest.fixture
    async def http():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            yield client

"""


def test_client(shop: Project) -> None:
    """An `AsyncClient` reaches the application on the loop of the tests; what is written is rewound."""
    shop.passes(
        TESTS
        + """
    @pytest.mark.parametrize("number", range(3))
    async def test_it(http, async_session, number):
        assert (await http.get("/customers")).json() == []
        assert (await http.post("/customers/a")).status_code == 201
        await create(async_session, "b")
        assert (await http.get("/customers")).json() == ["a", "b"]
        both = await asyncio.gather(http.get("/customers"), http.get("/customers"))
        assert [each.json() for each in both] == [["a", "b"]] * 2
    """
    )


def test_page(shop: Project) -> None:
    """The example of docs/async-tests.md passes: its conftest, and its asynchronous and synchronous test in one file."""
    pytest.importorskip("httpx2")
    conftest, tests = (
        block.text for block in blocks_of(ROOT / "docs/async-tests.md") if block.language == "python"
    )
    shop.write("tests/conftest.py", conftest)
    assert "2 passed" in shop.passes(tests).stdout.str()


def test_lifespan_is_never_open_twice(shop: Project) -> None:
    """A lifespan that a test or a fixture opens itself shuts the run's own down, which is started again for the next client."""
    shop.passes(
        TESTS
        + """
    @pytest.fixture
    async def opened():
        async with app.router.lifespan_context(app) as state:
            yield state

    def up():
        assert events == ["up", "down"] * (len(events) // 2) + ["up"] * (len(events) % 2)
        return len(events) % 2 == 1

    def test_sync(client):
        assert up() and len(events) == 1

    async def test_opens(opened, client):
        assert up() and len(events) == 3
        assert client.get("/loop").json()["lifespan"] == id(opened["loop"]) == id(asyncio.get_running_loop())

    async def test_opens_in_the_test(client):
        assert up() and len(events) == 5
        async with app.router.lifespan_context(app):
            assert up() and len(events) == 7
        assert not up()

    def test_sync_again(client):
        assert up() and len(events) == 9
    """
    )


def test_queries(shop: Project) -> None:
    """`queries` records those of requests over httpx and of what the block awaits, and a request that repeats one is found."""
    shop.write(
        "shop/many.py",
        """
        from sqlalchemy import text
        from shop.main import SessionDependency, app

        @app.get("/many")
        async def get_many(session: SessionDependency) -> int:
            for number in range(5):
                await session.execute(text("SELECT name FROM customers WHERE id = :number"), {"number": number})
            return 5
        """,
    )
    shop.replace("pyproject.toml", "shop.main:app", "shop.many:app")
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    import shop.many

    async def test_counts(http, queries, async_session):
        with queries() as sent:
            await http.get("/customers")
        assert sent.count == 1
        with queries() as sent:
            await create(async_session, "a")
            await http.get("/customers")
        assert sent.count == 2
        await http.get("/customers")
        assert sent.count == 2

    @pytest.mark.n_plus_one("fail")
    async def test_repeats(http):
        await http.get("/many")

    @pytest.mark.n_plus_one("fail")
    async def test_own(http, async_session):
        for number in range(5):
            await create(async_session, str(number))
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*test_repeats*", "greenroom: *GET /many*"])


def test_task_of_a_request(shop: Project) -> None:
    """A task that a request over httpx leaves is named after it."""
    shop.replace("pyproject.toml", "seed =", "task_timeout = 0\nseed =")
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    @app.get("/leave")
    async def leave():
        asyncio.create_task(asyncio.sleep(60))

    async def test_it(http):
        await http.get("/leave")
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["greenroom: The task sleep() of GET /leave still runs after its test*"])


def test_names_of_an_assertion_are_not_pytests(shop: Project) -> None:
    """What is advised for `assert (await …).name` does not name the variables of a rewritten assertion."""
    shop.write(
        "tests/test_it.py",
        """
        from shop.main import create

        async def expired(session):
            customer = await create(session, "a")
            session.expire(customer)
            return customer

        async def test_it(async_session):
            assert (await expired(async_session)).name == "a"
        """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*refresh(instance, attribute_names=[[]"name"[]])*'])
    result.stdout.no_fnmatch_line("*refresh(@py_assert*")
