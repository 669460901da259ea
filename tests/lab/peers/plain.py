"""pytest-asyncio, one loop

cause: The second mended program's settings, and nothing else: no plugin, no isolation.
pytest.ini: asyncio_default_fixture_loop_scope = session
pytest.ini: asyncio_default_test_loop_scope = session
"""

import httpx2
import pytest_asyncio
import service


@pytest_asyncio.fixture
async def session():
    async with service.new_session() as session:
        yield session


@pytest_asyncio.fixture
async def http():
    transport = httpx2.ASGITransport(service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
