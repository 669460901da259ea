"""pytest-asyncio and httpx's ASGITransport, a loop for each test, so: NullPool."""

import database
import httpx2
import pytest
import pytest_asyncio
import service


@pytest.fixture(scope="session")
def tables():
    with database.created() as engine:
        yield engine


@pytest_asyncio.fixture
async def client(tables):
    transport = httpx2.ASGITransport(app=service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    database.empty(tables)
