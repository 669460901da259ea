"""Mended: the same with `join_transaction_mode="create_savepoint"`

cause: The service's commits and rollbacks are those of savepoints, and the fixture's transaction stays around all of them.
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
        async with AsyncSession(
            bind=connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            yield session
        await transaction.rollback()


@pytest.mark.asyncio
async def test_commit_after_a_conflict(session):
    assert await models.create_once(session, "one")
    assert not await models.create_once(session, "one")
    assert await models.create_once(session, "two")


@pytest.mark.asyncio
async def test_nothing_is_left(session):
    assert await models.count(session) == 0
