"""pytest-asyncio, SQLAlchemy's recipe

cause: A transaction around each test with `join_transaction_mode="create_savepoint"`, and requests that get sessions on the same connection.
"""

import os

import httpx2
import pytest_asyncio
import service
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine


@pytest_asyncio.fixture
async def new_session():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.connect() as connection:
        transaction = await connection.begin()
        yield async_sessionmaker(connection, expire_on_commit=False, join_transaction_mode="create_savepoint")
        await transaction.rollback()


@pytest_asyncio.fixture
async def session(new_session):
    async with new_session() as session:
        yield session


@pytest_asyncio.fixture
async def http(new_session):
    async def get_session():
        async with new_session() as session:
            yield session

    service.app.dependency_overrides[service.get_session] = get_session
    transport = httpx2.ASGITransport(service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    service.app.dependency_overrides.clear()
