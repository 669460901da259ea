"""Savepoints with a listener, done right: a plain function on `sync_session`

cause: Listeners run inside the greenlet, so "the event system is not aware of async" is not the reason for anything.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture
async def session():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        transaction = await connection.begin()
        await connection.begin_nested()
        session = AsyncSession(bind=connection, expire_on_commit=False)

        @event.listens_for(session.sync_session, "after_transaction_end")
        def restart(_session, ended):
            if connection.closed or connection.in_nested_transaction():
                return
            connection.sync_connection.begin_nested()

        yield session
        await session.close()
        await transaction.rollback()


@pytest.mark.asyncio
async def test_two_commits(session):
    assert (await models.create(session, "one")).name == "one"
    assert (await models.create(session, "two")).name == "two"


@pytest.mark.asyncio
async def test_nothing_is_left(session):
    assert await models.count(session) == 0
