"""pytest-green-light, one loop

cause: The same with the two settings of one loop, and the application's own sessions.
pytest.ini: asyncio_mode = auto
pytest.ini: asyncio_default_fixture_loop_scope = session
pytest.ini: asyncio_default_test_loop_scope = session
plugin: green_light
"""

import os

import httpx2
import pytest
import service
from pytest_green_light.fixtures import async_db_transaction, async_engine_factory, async_session_factory


@pytest.fixture
async def engine():
    async for engine in async_engine_factory(os.environ["DATABASE_URL"]):
        yield engine


@pytest.fixture
async def session(engine):
    async for session in async_session_factory(engine):
        async with async_db_transaction(session):
            yield session


@pytest.fixture
async def http():
    transport = httpx2.ASGITransport(service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
