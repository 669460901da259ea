"""What goes wrong in an asynchronous test is told as in any other: its failure, a blocked loop, a task left, an interruption."""

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
    import time

    import pytest
    from shop.main import create, new_session

"""


def test_outcomes(shop: Project) -> None:
    """Failures, skips, expected failures and errors of fixtures are what they are in synchronous tests."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    @pytest.fixture
    async def fails():
        raise LookupError("in setup")

    @pytest.fixture
    async def fails_later():
        yield 1
        raise LookupError("in teardown")

    @pytest.fixture
    async def yields_twice():
        yield 1
        yield 2

    @pytest.fixture
    async def skips():
        pytest.skip("no reason")

    async def test_passes():
        pass

    async def test_fails():
        value = 3
        assert value == 4

    async def test_skips():
        pytest.skip("no reason")

    async def test_skipped(skips):
        pass

    @pytest.mark.xfail(raises=LookupError, strict=True)
    async def test_xfails():
        raise LookupError

    async def test_exits():
        raise SystemExit(3)

    async def test_cancels():
        raise asyncio.CancelledError

    async def test_setup(fails):
        pass

    async def test_teardown(fails_later):
        pass

    async def test_twice(yields_twice):
        pass

    async def test_last(client):
        assert client.get("/customers").json() == []
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=4, failed=3, skipped=2, xfailed=1, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*LookupError: in setup*",
            "*LookupError: in teardown*",
            "*greenroom: the fixture yields_twice has more than one yield: */tests/test_it.py:*",
            "*assert value == 4*",
            "*SystemExit: 3*",
            "*CancelledError*",
        ]
    )
    # The way through greenroom is not shown.
    result.stdout.no_fnmatch_line("*held.py*")
    result.stdout.no_fnmatch_line("*asynchronous.py*")


def test_end_of_an_iterator(shop: Project) -> None:
    """A `StopAsyncIteration` of a test or a fixture is its own error; a fixture that yields never is told as that."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    async def nothing():
        if False:
            yield

    @pytest.fixture
    async def exhausted():
        return await anext(nothing())

    @pytest.fixture
    async def yields_never():
        if False:
            yield

    async def test_exhausts():
        await anext(nothing())

    async def test_fixture(exhausted):
        pass

    async def test_never(yields_never):
        pass
    """,
    )
    result = shop.pytest("tests/test_it.py", "-p", "no:randomly")
    result.assert_outcomes(failed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*_ ERROR at setup of test_fixture _*",
            "E  *StopAsyncIteration",
            "*_ ERROR at setup of test_never _*",
            "greenroom: the fixture yields_never did not yield a value: */tests/test_it.py:*",
            "*_ test_exhausts _*",
            "E  *StopAsyncIteration",
        ]
    )


def test_task_that_is_left(shop: Project) -> None:
    """It is named with its test and line, and cancelled; one of a fixture of wider scope goes on."""
    shop.replace("pyproject.toml", "seed =", "task_timeout = 0\nseed =")
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    tasks = []

    @pytest.fixture(scope="module")
    async def ticking():
        tasks.append(asyncio.create_task(asyncio.sleep(60)))
        yield tasks[0]
        tasks[0].cancel()

    async def test_leaves(ticking):
        tasks.append(asyncio.create_task(asyncio.sleep(60)))

    async def test_next(ticking):
        assert not ticking.done()
        assert tasks[1].cancelled()
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "greenroom: The task sleep() of test_leaves still runs after its test, begun at tests/test_it.py:17: *. It was cancelled."
        ]
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("time.sleep(4)", "*HangError: test_it did not end within 1 s. The event loop is blocked at tests/test_it.py:9: *time.sleep(4)*"),
        ("await asyncio.sleep(60)", "*HangError: test_it did not end within 1 s. Of the application, the task 'test_it' waits at tests/test_it.py:9: *"),
    ],
)  # fmt: skip
def test_hang(shop: Project, body: str, told: str) -> None:
    """A test that blocks the loop, or waits for ever, is ended after the timeout, with its line; the next one runs."""
    shop.replace("pyproject.toml", "seed =", "timeout = 1\nseed =")
    shop.write(
        "tests/test_it.py",
        f"""
{TESTS}
    async def test_it():
        {body}

    async def test_next():
        pass
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.stdout.fnmatch_lines([told])


def test_client_where_it_cannot_wait(shop: Project) -> None:
    """A synchronous client in a task of a test is refused with a sentence, at once, and so are `TestClient` and `run`."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    from shop.main import app
    from starlette.testclient import TestClient

    async def in_a_task(function, *arguments):
        async def call():
            function(*arguments)

        with pytest.raises(RuntimeError) as caught:
            await asyncio.create_task(call())
        return str(caught.value)

    async def test_it(client, run):
        said = await in_a_task(client.get, "/customers")
        assert said.startswith("GET /customers was waited for in asynchronous code, where the loop would wait for itself.")
        said = await in_a_task(TestClient(app).get, "/customers")
        assert said.startswith("A TestClient's request was waited for in asynchronous code")
        sleeping = asyncio.sleep(0)
        said = await in_a_task(run, sleeping)
        assert said.startswith("run() was called in asynchronous code")
        assert client.get("/customers").json() == []
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=1)


def test_explained(shop: Project) -> None:
    """The reason of a known error is told, and the database is kept."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    async def test_lazy(async_session):
        customer = await create(async_session, "a")
        assert customer.orders == []
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*greenroom: why this failed*", "*greenroom psql tests/test_it.py::test_lazy*"]
    )


def test_transaction_left_open(shop: Project) -> None:
    """A test that leaves one open fails, and the next one finds nothing of it."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    from sqlalchemy import text

    kept = []

    async def test_leaves():
        kept.append(session := new_session())
        await create(session, "a")
        await session.execute(text("SELECT 1"))

    async def test_next(async_session):
        assert list(await async_session.scalars(text("SELECT name FROM customers"))) == []
    """,
    )
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaves*", "*opened at tests/test_it.py:*"])


def test_off(project: Project) -> None:
    """Without the setting nothing of it is imported, and pytest says what it says of asynchronous tests."""
    project.write(
        "tests/test_it.py",
        """
        import sys

        async def test_async():
            pass

        def test_modules():
            assert "greenroom.plugin.asynchronous" not in sys.modules
            assert "greenroom.loop.held" not in sys.modules
        """,
    )
    result = project.pytest("tests/test_it.py", "-W", "default")
    assert "1 passed" in result.stdout.str()
    result.stdout.fnmatch_lines(["*async def functions are not natively supported*"])


def test_stops_at_once(shop: Project) -> None:
    """`-x` ends the run after the first, and the fixtures of all scopes are torn down."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    @pytest.fixture(scope="session")
    async def wide():
        yield
        print("torn down on", type(asyncio.get_running_loop()).__name__)

    async def test_fails(wide):
        assert False

    async def test_never():
        pass
    """,
    )
    result = shop.pytest("tests/test_it.py", "-x", "-s")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*torn down on*Loop*"])


def test_interrupted(shop: Project) -> None:
    """Ctrl-C cancels the test, which cleans up before its fixtures are torn down, in order and on the loop."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    import os
    import signal
    import threading

    @pytest.fixture(scope="session")
    async def wide():
        yield
        print("then wide", asyncio.get_running_loop().is_running())

    @pytest.fixture
    async def own(wide):
        yield
        print("then own")

    async def test_it(own):
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)
            print("first the test")

    async def test_never():
        print("never")
    """,
    )
    result = shop.pytest("tests/test_it.py", "-s")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*first the test*", "*then own*", "*then wide True*", "*KeyboardInterrupt*"])
    result.stdout.no_fnmatch_line("never")
