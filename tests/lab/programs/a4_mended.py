"""Mended: no listener

cause: Since SQLAlchemy 2.0, a session that joins a connection in a savepoint makes a savepoint of each of its commits. The listener was dead code.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture
async def session():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        transaction = await connection.begin()
        await connection.begin_nested()
        session = AsyncSession(bind=connection, expire_on_commit=False)

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
