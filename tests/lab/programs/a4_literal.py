"""As the story's text has it: `async with session.begin_nested()` around a service that commits

cause: `commit()` ends the outermost transaction, savepoint included: the row is in the database for good, and the block cannot go on.
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
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest.mark.asyncio
async def test_one_commit(session):
    async with session.begin_nested():
        await models.create(session, "one")


@pytest.mark.asyncio
async def test_two_commits(session):
    async with session.begin_nested():
        await models.create(session, "two")
        await models.create(session, "three")


@pytest.mark.asyncio
async def test_nothing_is_left(session):
    assert await models.count(session) == 0
