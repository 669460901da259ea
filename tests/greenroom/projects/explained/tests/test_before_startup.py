from __future__ import annotations

import asyncio

import httpx2
from starlette.testclient import TestClient


def test_lifespan_of_the_application(app):
    TestClient(app).get("/greeting")


def test_lifespan_of_the_request(app):
    TestClient(app).get("/farewell")


def test_lifespan_under_httpx(app):
    async def get():
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
            await client.get("/farewell")

    asyncio.run(get())
