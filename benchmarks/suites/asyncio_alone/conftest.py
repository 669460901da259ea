"""pytest-asyncio on one loop for the session, with the pool, and nothing that keeps the tests apart."""

import database
import httpx2
import pytest
import pytest_asyncio
import service


@pytest.fixture(scope="session")
def tables():
    with database.created() as engine:
        yield engine


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool(tables):
    yield
    await service.engine.dispose()


@pytest_asyncio.fixture(loop_scope="session")
async def client(pool):
    transport = httpx2.ASGITransport(app=service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
