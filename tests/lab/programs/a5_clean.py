"""A clean session without any wrapping, NullPool

cause: No loop is involved. Each failure reads from asynchronous code what is not loaded: an expired attribute, a relationship of a loaded row, the service's relationship after the flush.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture
async def session():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with AsyncSession(engine) as session:
        yield session


@pytest.mark.asyncio
async def test_select(session):
    await models.create(session, "one")
    assert await models.count(session) == 1


@pytest.mark.asyncio
async def test_attribute_after_commit(session):
    provider = await models.create(session, "two")
    assert provider.name == "two"


@pytest.mark.asyncio
async def test_relationship_of_a_loaded_row(session):
    provider = (await session.scalars(select(models.Provider).limit(1))).one()
    assert provider.connection is None


@pytest.mark.asyncio
async def test_relationship_after_refresh(session):
    provider = (await session.scalars(select(models.Provider).limit(1))).one()
    await session.refresh(provider)
    assert provider.connection is None


@pytest.mark.asyncio
async def test_service_that_loads_lazily(session):
    provider = (await session.scalars(select(models.Provider).limit(1))).one()
    await models.store_token(session, provider.id, "secret")
