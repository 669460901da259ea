"""NullPool and a transaction around each test, as the story's snippet has it

cause: `AsyncSession(bind=connection)` expires what it holds at commit(); reading an attribute after that queries the database, outside of an await. It is the default `expire_on_commit=True`, not the transaction. The commit itself works.
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
        async with AsyncSession(bind=connection) as session:
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
