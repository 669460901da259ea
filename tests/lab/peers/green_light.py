"""pytest-green-light

cause: Engine, session and rollback of its fixtures module. Its example says "you'd override the database dependency": requests get the test's session.
pytest.ini: asyncio_mode = auto
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
async def http(session):
    service.app.dependency_overrides[service.get_session] = lambda: session
    transport = httpx2.ASGITransport(service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    service.app.dependency_overrides.clear()
