from __future__ import annotations

import asyncio
import contextlib
import os

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from vault.main import engine

lock = asyncio.Lock()


async def select_one(engine):
    async with engine.connect() as connection:  # here: connect
        await connection.execute(text("SELECT 1"))  # here: select_one


@pytest.fixture
def other_loop():
    """A loop that stays open. It does not run meanwhile: two that run, on one connection, can crash the interpreter."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_different_loop(other_loop, database_url):
    own = create_async_engine(os.environ["DATABASE_URL"])
    other_loop.run_until_complete(select_one(own))
    asyncio.run(select_one(own))


def test_event_loop_is_closed(database_url):
    url = os.environ["DATABASE_URL"]
    own = create_async_engine(url, connect_args={"command_timeout": 60} if "asyncpg" in url else {})
    asyncio.run(select_one(own))
    asyncio.run(select_one(own))


def test_another_operation_is_in_progress(database_url):
    own = create_async_engine(os.environ["DATABASE_URL"])
    asyncio.run(select_one(own))
    with contextlib.suppress(RuntimeError):
        asyncio.run(select_one(own))
    asyncio.run(select_one(own))


def test_another_operation_on_another_loop(other_loop, database_url):
    own = create_async_engine(os.environ["DATABASE_URL"])
    other_loop.run_until_complete(select_one(own))
    with contextlib.suppress(RuntimeError):
        asyncio.run(select_one(own))
    asyncio.run(select_one(own))


async def slow(session):
    await session.execute(text("SELECT pg_sleep(0.1)"))  # here: two_tasks_on_a_new_session


def test_two_tasks_on_one_session(run, async_session):
    async def both():
        await async_session.execute(text("SELECT 1"))
        await asyncio.gather(slow(async_session), async_session.commit())  # here: two_tasks_on_one_session

    run(both())


def test_two_tasks_on_a_new_session(run, database_url):
    async def both():
        own = create_async_engine(os.environ["DATABASE_URL"])
        try:
            async with AsyncSession(own) as session:
                await asyncio.gather(slow(session), slow(session))
        finally:
            await own.dispose()

    run(both())


def test_session_closed_by_another_task(run, async_session):
    async def both():
        await async_session.execute(text("SELECT 1"))
        await asyncio.gather(async_session.rollback(), commit(async_session))

    run(both())


async def commit(session):
    await session.commit()  # here: session_closed_by_another_task


def test_session_of_another_loop(other_loop, database_url):
    own = create_async_engine(os.environ["DATABASE_URL"])
    session = AsyncSession(own)
    other_loop.run_until_complete(select_with(session))
    asyncio.run(select_with(session))
    asyncio.run(session.close())


def test_commit_on_another_loop(other_loop, database_url):
    own = create_async_engine(os.environ["DATABASE_URL"])
    session = AsyncSession(own)
    other_loop.run_until_complete(select_with(session))
    asyncio.run(commit_with(session))


async def commit_with(session):
    await session.commit()  # here: commit_on_another_loop


def test_connection_without_a_pool(other_loop, database_url):
    own = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    connection = other_loop.run_until_complete(own.connect().start())
    asyncio.run(select_over(connection))
    asyncio.run(connection.close())


async def select_over(connection):
    await connection.execute(text("SELECT 1"))  # here: connection_without_a_pool


async def select_with(session):
    await session.execute(text("SELECT 1"))  # here: session_of_another_loop


def test_queue_bound_to_a_different_event_loop(database_url):
    own = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0)

    async def two():
        await asyncio.gather(select_one(own), select_one(own))

    asyncio.run(two())

    asyncio.run(two())


def test_lock_bound_to_a_different_event_loop(run):
    async def twice():
        async def locked():
            async with lock:  # here: lock_bound_to_a_different_event_loop
                await asyncio.sleep(0)

        await asyncio.gather(locked(), locked())

    run(twice())
    asyncio.run(twice())


def test_future_of_a_different_event_loop(run):
    async def make():
        return asyncio.get_running_loop().create_future()

    future = run(make())

    async def wait():
        await future  # here: future_of_a_different_event_loop

    asyncio.run(wait())


async def select_now():
    asyncio.run(select_one(engine))  # here: running_event_loop


def test_running_event_loop(run):
    run(select_now())


def migrate():
    asyncio.run(select_one(engine))  # here: running_event_loop_in_a_plain_function


def test_running_event_loop_in_a_plain_function(run):
    async def main():
        migrate()

    run(main())
