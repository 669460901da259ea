"""Mended: that line, and the other one that belongs to it

cause: One loop.
pytest.ini: asyncio_default_fixture_loop_scope = session
pytest.ini: asyncio_default_test_loop_scope = session
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
