"""NullPool and a session-scoped engine

cause: Nothing is carried from one loop to another, so nothing fails: "the same errors persisted" is not true of this set-up alone.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture(scope="session")
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(models.Base.metadata.create_all)
    yield engine


@pytest_asyncio.fixture
async def session(engine):
    session = AsyncSession(engine, expire_on_commit=False)
    yield session
    await session.rollback()
    await session.close()


@pytest.mark.asyncio
async def test_commit(session):
    await models.create(session, "one")


@pytest.mark.asyncio
async def test_transaction_left_open(session):
    await models.create(session, "two")
    assert await models.count(session) == 2
