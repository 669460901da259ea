"""The same with `pool_pre_ping=True`

cause: The ping fails on the other loop, the pool drops that connection and reports the failure; the next test gets a new one, of its own loop, and leaves it to the one after. So every second test fails, whatever it tests, and another order fails others.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture(scope="session")
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
    async with engine.begin() as connection:
        await connection.run_sync(models.Base.metadata.create_all)
    yield engine


@pytest_asyncio.fixture
async def session(engine):
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest.mark.asyncio
async def test_one(session):
    await models.create(session, "one")


@pytest.mark.asyncio
async def test_two(session):
    await models.create(session, "two")


@pytest.mark.asyncio
async def test_three(session):
    await models.create(session, "three")


@pytest.mark.asyncio
async def test_four(session):
    await models.create(session, "four")
