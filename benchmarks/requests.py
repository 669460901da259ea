"""A request that needs no database: greenroom's client beside Starlette's own TestClient, entered once."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import FastAPI
from starlette.testclient import TestClient

from benchmarks.measure import Measured, side_by_side
from greenroom.loop.client import Client
from greenroom.loop.thread import Loop


def measure(*, seconds: float) -> dict[str, Measured]:
    """The time of one request.

    Args:
        seconds: How long each client may take.
    """
    app = FastAPI()

    @app.get("/ping")
    async def ping() -> dict[str, str]:
        return {"ping": "pong"}

    loop = Loop()
    try:
        # Before its portal is there: this client starts a loop of its own.
        with TestClient(app) as stock:
            ours = Client(app, loop, {})
            return side_by_side(
                {"greenroom": _request(ours), "TestClient, entered once": _request(stock)}, seconds=seconds
            )
    finally:
        loop.close()


def _request(client: TestClient) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        client.get("/ping").raise_for_status()
        return time.perf_counter() - start

    return once
