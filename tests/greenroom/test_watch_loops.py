"""The pool guard: a pooled connection is not used on another loop than it was made on."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project

ASK = """
import asyncio, threading
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from shop.main import app, engine

async def ask(engine=engine):
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT 1"))
"""


@pytest.mark.parametrize("options", ["", ", pool_pre_ping=True", ", pool_recycle=0"])
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_loop_that_is_closed(project: Project, driver: str, options: str) -> None:
    """A connection of a closed loop: the test fails and names loops, engine and lines, and the next one is fine.

    So it is where the pool would first ping the connection, or replace it, and with a driver that would not mind.
    """
    project.replace("pyproject.toml", "seed =", f'driver = "postgresql+{driver}"\nseed =')
    project.replace("shop/main.py", 'os.environ["DATABASE_URL"]', f'os.environ["DATABASE_URL"]{options}')
    project.write(
        "tests/test_it.py",
        ASK
        + """
def test_two_loops():
    asyncio.run(ask())
    asyncio.run(ask())

def test_next(client):
    assert client.get("/customers").json() == []
""",
    )
    result = project.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([
        "E * A pooled connection of `shop.main.engine` (shop/main.py:18) was asked for on another event loop than*",
        "E *made on the loop that was started at tests/test_it.py:13: asyncio.run(ask()), in the thread 'MainThread', closed by now",
        "E *at tests/test_it.py:9: async with engine.connect() as connection:",
        "E *during tests/test_it.py::test_two_loops",
        "E *asked for on the loop that was started at tests/test_it.py:14: asyncio.run(ask()), in the thread 'MainThread'",
        "E *fix 1:*",
        "E *poolclass=NullPool)",
        "E *more: docs/faq.md#different-loop, or: *",
    ])  # fmt: skip
    told = {
        "asyncpg": "E *fails with “attached to a different loop”*",
        "psycopg": "E *has to wait for a connection*",
    }
    result.stdout.fnmatch_lines([told[driver]])


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_two_loops_that_are_both_alive(project: Project, driver: str) -> None:
    """A second live loop does not get the application's connection, which could crash the interpreter, however often it asks.

    The application's own requests go on.
    """
    project.replace("pyproject.toml", "seed =", f'driver = "postgresql+{driver}"\nseed =')
    project.write(
        "tests/test_it.py",
        ASK
        + """
@pytest.mark.parametrize("number", range(5))
def test_another_thread(client, number):
    assert client.get("/customers").json() == []
    with pytest.raises(Exception, match="asked for on another event loop"):
        asyncio.run(ask())
    assert client.get("/customers").json() == []
""",
    )
    result = project.pytest("tests/test_it.py")
    result.assert_outcomes(failed=5)
    result.stdout.fnmatch_lines([
        "greenroom: A pooled connection of `shop.main.engine` (shop/main.py:18) was asked for*",
        "made on greenroom's loop, the one of `client` and `run`, in the thread 'greenroom loop'",
        "    at shop/main.py:*",
        "asked for on the loop that was started at tests/test_it.py:16: asyncio.run(ask()), in the thread 'MainThread'",
    ])  # fmt: skip


def test_session_that_is_open(project: Project) -> None:
    """Nor does it get the connection of a session that a fixture holds open: the interpreter crashed there."""
    project.write(
        "tests/test_it.py",
        """
import asyncio

from sqlalchemy import text


async def count(session):
    for _ in range(200):
        await session.scalar(text("SELECT count(*) FROM customers"))

def test_it(async_session, run):
    run(count(async_session))
    asyncio.run(count(async_session))

def test_next(async_session, run):
    run(count(async_session))
""",
    )
    result = project.pytest("tests/test_it.py", "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([
        "E *A pooled connection of * was used on another event loop than it was made on",
        "E *made on greenroom's loop*",
        "E *used on the loop that was started at tests/test_it.py:*: asyncio.run(count(async_session)), in the thread 'MainThread'",
    ])  # fmt: skip


def test_application_that_hides_it(project: Project) -> None:
    """An application that answers each exception with a 500 does not hide it: the test fails all the same."""
    project.write(
        "tests/test_it.py",
        ASK
        + """
def test_it(make_client):
    client = make_client(raise_server_exceptions=False)
    asyncio.run(ask())
    assert client.get("/customers").status_code == 500

def test_that_fails_by_itself(make_client):
    client = make_client(raise_server_exceptions=False)
    asyncio.run(ask())
    assert client.get("/customers").status_code == 200
""",
    )
    result = project.pytest("tests/test_it.py")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([
        "greenroom: A pooled connection of *",
        "E *assert 500 == 200",
        "*- Captured greenroom call -*",
        "A pooled connection of *",
        "asked for on greenroom's loop*",
        "    at shop/main.py:*",
    ])  # fmt: skip


def test_anyios_tests(project: Project) -> None:
    """An asynchronous test of anyio's plugin that uses the application's engine beside the client is told which loop is whose."""
    project.write(
        "tests/test_it.py",
        ASK
        + """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_asynchronous():
    assert await ask() == 1

def test_synchronous(client):
    client.get("/customers")
""",
    )
    result = project.pytest(
        "tests/test_it.py",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([
        "E *made on a loop of anyio's pytest plugin, in the thread 'MainThread', closed by now",
        "E *at tests/test_it.py:9: async with engine.connect() as connection:",
        "E *during tests/test_it.py::test_asynchronous*",
        "E *asked for on greenroom's loop*",
    ])  # fmt: skip


def test_what_is_right(project: Project) -> None:
    """Engines without a pool, engines of one loop, and synchronous sessions in coroutines are not stopped."""
    project.passes(
        ASK
        + """
def test_disposed_between(client):
    async def alone():
        await ask()
        await engine.dispose()
    asyncio.run(alone())
    asyncio.run(alone())
    assert client.get("/customers").json() == []

def test_no_pool(client, database_url):
    engine = create_async_engine(database_url, poolclass=NullPool)
    asyncio.run(ask(engine))
    asyncio.run(ask(engine))
    assert client.get("/customers").json() == []

def test_an_engine_for_each_loop(client, database_url):
    async def alone():
        engine = create_async_engine(database_url)
        assert await ask(engine) == await ask(engine) == 1
        await engine.dispose()
    asyncio.run(alone())
    asyncio.run(alone())
    assert client.get("/customers").json() == []

def test_synchronous_engine_on_two_loops(engine):
    async def ask():
        with engine.connect() as connection:
            return connection.scalar(text("SELECT 1"))
    assert asyncio.run(ask()) == asyncio.run(ask()) == 1
"""
    )


def test_many_closed_loops(project: Project) -> None:
    """Connections whose loop is closed do not pile up on the server, and none of them warns in another test."""
    project.write(
        "tests/test_it.py",
        ASK
        + """
import gc

@pytest.mark.parametrize("number", range(20))
def test_again(number):
    asyncio.run(ask())
    asyncio.run(ask())

def test_that_looks(session):
    gc.collect()
    others = text("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()")
    assert session.scalar(others) == 0
""",
    )
    result = project.pytest("tests/test_it.py")
    result.assert_outcomes(failed=20, passed=1)


def test_switched_off(project: Project) -> None:
    """Without the guard the driver's own error comes, as it does in production."""
    project.replace("pyproject.toml", "seed =", "pool_guard = false\nseed =")
    project.write(
        "tests/test_it.py",
        ASK
        + """
def test_two_loops():
    asyncio.run(ask())
    asyncio.run(ask())
""",
    )
    result = project.pytest("tests/test_it.py", "-W", "ignore")
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.no_fnmatch_line("*asked for on another event loop*")
    result.stdout.re_match_lines([r"E +RuntimeError: (Event loop is closed|.*attached to a different loop)"])
