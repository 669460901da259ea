"""Mended: `expire_on_commit=False`, `join_transaction_mode="create_savepoint"`

cause: What is left is the bug in the service: after the flush, the new object's relationship is not loaded, and reading it queries the database. Asynchronous tests found it; the wrapper that the story moved to hides it.
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
async def test_commit(session):
    await models.create(session, "one")


@pytest.mark.asyncio
async def test_attribute_after_commit(session):
    provider = await models.create(session, "one")
    assert provider.name == "one"


@pytest.mark.asyncio
async def test_service_that_loads_lazily(session):
    provider_id = (await session.run_sync(_add)).id
    await models.store_token(session, provider_id, "secret")


def _add(sync):
    provider = models.Provider(name="three")
    sync.add(provider)
    sync.flush()
    return provider
