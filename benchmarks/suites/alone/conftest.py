"""The floor: the request alone, on one loop, with the pool. Nothing is reset, and no test is apart from the others."""

import asyncio

import database
import httpx2
import pytest
import service


@pytest.fixture(scope="session")
def client():
    with database.created(), asyncio.Runner() as runner:
        transport = httpx2.ASGITransport(service.app)
        opened = httpx2.AsyncClient(transport=transport, base_url="http://testserver")
        yield lambda body: runner.run(opened.post("/items", json=body))
        runner.run(opened.aclose())
        runner.run(service.engine.dispose())
