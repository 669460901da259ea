"""Mended: the same as the second, with both of the loops' scopes set to the session

cause: One loop: two settings, which belong together.
pytest.ini: asyncio_default_fixture_loop_scope = session
pytest.ini: asyncio_default_test_loop_scope = session
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
