"""The same with `expire_on_commit=False`

cause: Only the service's own lazy load is left. But without a `join_transaction_mode`, the session's `rollback()` is the fixture's: what had been committed before is gone.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool
from sqlalchemy.exc import IntegrityError
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
async def test_attribute_after_commit(session):
    provider = await models.create(session, "one")
    assert provider.name == "one"


@pytest.mark.asyncio
async def test_commit_then_error(session):
    await models.create(session, "one")
    with pytest.raises(IntegrityError):
        await models.create(session, "one")
    await session.rollback()
    assert await models.count(session) == 1


@pytest.mark.asyncio
async def test_service_that_loads_lazily(session):
    provider_id = (await session.run_sync(_add)).id
    await models.store_token(session, provider_id, "secret")


def _add(sync):
    provider = models.Provider(name="three")
    sync.add(provider)
    sync.flush()
    return provider
