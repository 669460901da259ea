"""A transaction around each test, `expire_on_commit=False`, and a service that rolls back and goes on

cause: Without a `join_transaction_mode`, the service's `rollback()` ends the fixture's transaction. From then on nothing is around the test: the next `commit()` is one of the database, and its row is left there. The test that did it passes, another one fails, and SQLAlchemy only warns.
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
        async with AsyncSession(bind=connection, expire_on_commit=False) as session:
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
