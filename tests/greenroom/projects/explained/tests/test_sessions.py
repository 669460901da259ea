from __future__ import annotations

import asyncio
import contextlib

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from vault import service
from vault.main import engine, new_session
from vault.models import Provider


def test_detached_relationship(run, provider):
    async def get():
        async with new_session() as session:
            return await service.provider_named(session, "a")

    found = run(get())
    assert found.connection is not None  # here: detached_relationship


def test_detached_and_expired(run, provider):
    async def rename():
        async with AsyncSession(engine) as session:
            found = await service.provider_named(session, "a")
            found.name = "b"
            await session.commit()
            return found

    found = run(rename())
    assert found.name == "b"  # here: detached_and_expired


def test_detached_relationship_of_an_expired_one(run, provider):
    async def rename():
        async with AsyncSession(engine) as session:
            found = await service.provider_named(session, "a")
            found.name = "b"
            await session.commit()
            return found

    found = run(rename())
    assert found.connection is not None  # here: detached_relationship_of_an_expired_one


def test_detached_in_the_synchronous_session(session, provider):
    found = session.query(Provider).one()
    session.close()
    assert found.connection is not None  # here: detached_in_the_synchronous_session


async def add_twice(session):
    session.add(Provider(name="a"))
    with contextlib.suppress(IntegrityError):
        await session.flush()
    return (await session.scalars(select(Provider))).all()  # here: pending_rollback


def test_pending_rollback(run, async_session, provider):
    run(add_twice(async_session))


async def go_on(session):
    with contextlib.suppress(DBAPIError):
        await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    await session.execute(text("SELECT 1"))  # here: connection_lost


def test_connection_lost(run, async_session):
    run(go_on(async_session))


async def read_nothing(session):
    with contextlib.suppress(DBAPIError):
        await session.execute(text("SELECT * FROM nothing"))
    return await session.scalar(text("SELECT 1"))  # here: failed_transaction


def test_failed_transaction(run, async_session):
    run(read_nothing(async_session))


def test_failed_transaction_in_the_synchronous_session(session):
    with pytest.raises(DBAPIError):
        session.execute(text("SELECT * FROM nothing"))
    session.execute(text("SELECT 1"))  # here: failed_transaction_in_the_synchronous_session


def test_closed_transaction(run):
    async def outer():
        async with engine.connect() as connection:
            transaction = await connection.begin()
            await transaction.commit()
            async with AsyncSession(engine) as session:
                ended = await session.begin()
                await session.execute(text("SELECT 1"))
                await session.commit()
                await ended.commit()  # here: closed_transaction

    run(outer())


def test_closed_connection(run):
    async def outer():
        async with engine.connect() as connection:
            pass
        await connection.execute(text("SELECT 1"))  # here: closed_connection

    run(outer())


def test_closed_result(run, async_session):
    async def twice():
        result = await async_session.execute(text("SELECT 1"))
        result.scalars().one()
        return result.all()  # here: closed_result

    run(twice())


def test_result_without_rows(run, async_session):
    async def write():
        result = await async_session.execute(text("UPDATE providers SET name = 'x'"))
        return result.all()  # here: result_without_rows

    run(write())


async def provide():
    async with new_session() as session:  # here: session_closed_by_a_generator
        yield session


def test_session_closed_by_a_generator(run, database_url):
    async def leave():
        await engine.dispose()
        holder = provide()
        session = await anext(holder)
        statement = asyncio.ensure_future(session.execute(text("SELECT 1")))
        await asyncio.sleep(0)
        try:
            await holder.aclose()
        finally:
            await asyncio.wait([statement])

    run(leave())


def test_session_closed_by_its_block(run, database_url):
    async def leave():
        await engine.dispose()
        statements = []
        try:
            async with new_session() as session:  # here: session_closed_by_its_block
                statements.append(asyncio.create_task(session.execute(text("SELECT 1"))))
                await asyncio.sleep(0)
        finally:
            await asyncio.wait(statements)

    run(leave())


def test_session_closed_by_a_cancellation(run, database_url):
    statements, begun = [], asyncio.Event()

    async def work():
        async with new_session() as session:  # here: session_closed_by_a_cancellation
            statements.append(asyncio.create_task(session.execute(text("SELECT 1"))))
            begun.set()
            await asyncio.Event().wait()

    async def cancel():
        await engine.dispose()
        task = asyncio.create_task(work())
        await begun.wait()
        task.cancel()
        try:
            await task
        finally:
            await asyncio.wait(statements)

    run(cancel())


def test_detached_in_the_background(client, provider):
    client.get("/providers/a/notified")
