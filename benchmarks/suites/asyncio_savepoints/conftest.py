"""pytest-asyncio on one loop for the session; an outer transaction, and the application's session replaced by one in it."""

import database
import httpx2
import pytest
import pytest_asyncio
import service
from sqlalchemy.ext.asyncio import AsyncSession


@pytest.fixture(scope="session")
def tables():
    with database.created() as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def connection(tables):
    async with service.engine.connect() as connection:
        yield connection
    await service.engine.dispose()


@pytest_asyncio.fixture(loop_scope="session")
async def client(connection):
    transaction = await connection.begin()

    async def get_session():
        async with AsyncSession(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            yield session

    service.app.dependency_overrides[service.get_session] = get_session
    transport = httpx2.ASGITransport(app=service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    await transaction.rollback()
