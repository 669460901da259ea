"""greenroom

cause: The settings beside the programs; the application's own sessions.
plugin: greenroom.plugin
"""

import httpx2
import pytest
import service


@pytest.fixture
def session(async_session):
    return async_session


@pytest.fixture
async def http():
    transport = httpx2.ASGITransport(service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
