"""The listener asks the loop to run a coroutine

cause: The loop that the listener asks is running: it is what runs the listener. What is reported is what the session makes of that. A listener has no need of it, since it is called where SQLAlchemy's own methods await by themselves.
"""

import asyncio
import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


@pytest_asyncio.fixture
async def session():
    loop = asyncio.get_running_loop()
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        transaction = await connection.begin()
        await connection.begin_nested()
        session = AsyncSession(bind=connection, expire_on_commit=False)

        @event.listens_for(session.sync_session, "after_transaction_end")
        def restart(_session, ended):
            loop.run_until_complete(connection.begin_nested())

        yield session
        event.remove(session.sync_session, "after_transaction_end", restart)
        await session.close()
        await transaction.rollback()


@pytest.mark.asyncio
async def test_two_commits(session):
    assert (await models.create(session, "one")).name == "one"
    assert (await models.create(session, "two")).name == "two"


@pytest.mark.asyncio
async def test_nothing_is_left(session):
    assert await models.count(session) == 0
