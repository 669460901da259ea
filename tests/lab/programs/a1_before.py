"""The story's "before": an `event_loop` fixture of its own, and plain `@pytest.fixture` on asynchronous fixtures

cause: In its default mode, strict, pytest-asyncio leaves a plain `@pytest.fixture` alone: the test gets a generator that nobody has awaited. The `event_loop` fixture is dead code since pytest-asyncio 1.0, and nothing says so. No database error at all.
"""

import asyncio
import os

import models
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest.fixture(scope="session")
def event_loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
async def session():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


@pytest.mark.asyncio
async def test_one(session):
    await models.create(session, "one")


@pytest.mark.asyncio
async def test_two(session):
    await models.create(session, "two")
