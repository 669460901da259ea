"""NullPool, and one AsyncSession for the whole session

cause: The session keeps its connection, and with it the loop of the fixture that made it. The reason, "attached to a different loop", is in the suppressed context of what is reported ("after" above): pytest does not show it.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture(scope="session")
async def session():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    session = AsyncSession(engine, expire_on_commit=False)
    await models.count(session)
    yield session


@pytest.mark.asyncio
async def test_one(session):
    await models.create(session, "one")


@pytest.mark.asyncio
async def test_two(session):
    await models.create(session, "two")
