"""The fixture itself calls synchronous methods: `sync_connection.begin_nested()`, `sync_session.close()`

cause: The same call that is right in a listener is wrong in the fixture's body: there it queries the database outside of the greenlet. Both have a method to await, `connection.begin_nested()` and `session.close()`.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture
async def connection():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await transaction.rollback()


@pytest_asyncio.fixture
async def begun(connection):
    connection.sync_connection.begin_nested()
    async with AsyncSession(bind=connection) as session:
        yield session


@pytest_asyncio.fixture
async def closed(connection):
    session = AsyncSession(bind=connection, join_transaction_mode="create_savepoint")
    yield session
    session.sync_session.close()


@pytest.mark.asyncio
async def test_begun(begun):
    assert await models.count(begun) == 0


@pytest.mark.asyncio
async def test_closed(closed):
    assert await models.count(closed) == 0
