"""One engine with a pool for the session; each test on a loop of its own

cause: The engine's fixture runs on the session's loop, uses a connection there and leaves it in the pool; the first test takes it on its own loop. After that the connection is stuck half-way through an operation, which is what the other tests report.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture(scope="session")
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"])
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
