"""What the loopback costs an application beside the server's Unix socket: a query, and a connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg

from benchmarks.measure import Measured, side_by_side
from benchmarks.suites import ROOT
from greenroom.output import silent
from greenroom.servers.embedded import Embedded
from greenroom.urls import conninfo

ROLE, PASSWORD = "measured", "0123456789abcdef"


def measure(*, seconds: float) -> dict[str, dict[str, Measured]]:
    """The time of a query, and of a connection, by address.

    Args:
        seconds: How long each address may take.
    """
    server = Embedded.new(ROOT)
    try:
        server.start(silent)
        assert server.loopback is not None
        host, port = server.loopback
        with psycopg.connect(conninfo(server.admin), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        socket = str(server.admin.query["host"])
        # The socket's file bears the port's number, too.
        ways: dict[str, dict[str, Any]] = {
            "Unix socket": {"host": socket, "port": port},
            "loopback": {"host": host, "port": port},
        }
        with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
            opened = {name: runner.run(_connected(way)) for name, way in ways.items()}
            for each in opened.values():
                stack.callback(_close, runner, each)
            return {
                "a query": side_by_side(
                    {
                        name: _timed(runner, partial(each.fetchval, "SELECT 1"))
                        for name, each in opened.items()
                    },
                    seconds=seconds,
                ),
                "a connection": side_by_side(
                    {name: _timed(runner, partial(_once, way)) for name, way in ways.items()},
                    seconds=seconds,
                ),
            }
    finally:
        server.stop()


def _timed(runner: asyncio.Runner, action: Callable[[], Awaitable[Any]]) -> Callable[[], float]:
    async def timed() -> float:
        start = time.perf_counter()
        await action()
        return time.perf_counter() - start

    return lambda: runner.run(timed())


def _close(runner: asyncio.Runner, connection: asyncpg.Connection) -> None:
    runner.run(connection.close())


async def _connected(way: dict[str, Any]) -> asyncpg.Connection:
    return await asyncpg.connect(user=ROLE, password=PASSWORD, database="postgres", **way)


async def _once(way: dict[str, Any]) -> None:
    await (await _connected(way)).close()
