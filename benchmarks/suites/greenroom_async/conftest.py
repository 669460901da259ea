"""The asynchronous client, with greenroom's loop, pool and rewind."""

import httpx2
import pytest
import service


@pytest.fixture
async def client():
    transport = httpx2.ASGITransport(app=service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
