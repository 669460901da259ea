"""Mended: everything is loaded where something is awaited

cause: `expire_on_commit=False`, `selectinload()`, `refresh(attribute_names=…)`, and a service that says at construction what its relationship holds.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload


@pytest_asyncio.fixture
async def session():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest.mark.asyncio
async def test_attribute_after_commit(session):
    provider = await models.create(session, "two")
    assert provider.name == "two"


@pytest.mark.asyncio
async def test_relationship_of_a_loaded_row(session):
    query = select(models.Provider).options(selectinload(models.Provider.connection)).limit(1)
    assert (await session.scalars(query)).one().connection is None


@pytest.mark.asyncio
async def test_relationship_after_refresh(session):
    provider = (await session.scalars(select(models.Provider).limit(1))).one()
    await session.refresh(provider, ["connection"])
    assert provider.connection is None


@pytest.mark.asyncio
async def test_service(session):
    provider = (await session.scalars(select(models.Provider).limit(1))).one()
    await models.store_token_mended(session, provider.id, "secret")
