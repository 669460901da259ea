"""The same with the line that the story's project had in pytest.ini

cause: That line moves the fixtures to the session's loop and leaves the tests on their own, so a fixture rolls back a connection of another loop. Neither version of pytest-asyncio says a word about it; where the line is missing, the older one asks for it.
pytest.ini: asyncio_default_fixture_loop_scope = session
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
