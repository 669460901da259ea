"""Suites of API tests that insert, commit and want an empty database again, run by pytest: greenroom and the other ways."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import URL

from benchmarks.measure import Spread
from greenroom.urls import conninfo

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = Path(__file__).parent / "suites"


@dataclasses.dataclass(frozen=True)
class Suite:
    """One way to test the service.

    Attributes:
        name: As the tables have it.
        folder: Its conftest.py and tests.
        plugins: Of pytest: no others are loaded, so that nobody pays for somebody else's.
        pooled: The application has its pool, as in production. Otherwise it is a NullPool.
    """

    name: str
    folder: str
    plugins: tuple[str, ...] = ()
    pooled: bool = True


GREENROOM: Final = Suite("greenroom", "greenroom", ("greenroom.plugin",))
EMPTY: Final = Suite("pytest itself: an empty test", "empty")
SAVEPOINTS: Final = Suite(
    "pytest-asyncio, one loop, savepoints", "asyncio_savepoints", ("pytest_asyncio.plugin",)
)
SUITES: Final = (
    GREENROOM,
    SAVEPOINTS,
    Suite("pytest-asyncio, one loop, pool, DELETE from all", "asyncio_pool", ("pytest_asyncio.plugin",)),
    Suite("TestClient entered once, pool, DELETE from all", "testclient_once"),
    Suite("AsyncToSync session wrapper (asyncpg does not run)", "wrapper"),
    Suite(
        "pytest-asyncio, loop per test, NullPool",
        "asyncio_nullpool",
        ("pytest_asyncio.plugin",),
        pooled=False,
    ),
    Suite("with TestClient per test, NullPool", "testclient", pooled=False),
    Suite("the request alone: one loop, no reset (floor)", "alone"),
    EMPTY,
)
ASYNCHRONOUS: Final = (
    Suite("greenroom, async_tests", "greenroom_async", ("greenroom.plugin",)),
    SAVEPOINTS,
    Suite("pytest-asyncio, one loop, no isolation", "asyncio_alone", ("pytest_asyncio.plugin",)),
    dataclasses.replace(GREENROOM, name="greenroom, the same test as a synchronous one"),
)
"""Those whose tests are asynchronous, with pytest-asyncio at its best: one loop, one engine."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run of a suite took.

    Attributes:
        test: Seconds for each test, from the end of the one before to its own: set-up, call, teardown, report.
        whole: Seconds for the process.
        memory: Bytes of pytest and its workers after a hundred tests, and at the end.
        server: Bytes of the server's processes, before and after. A page that they share counts in one of them.
    """

    test: list[float]
    whole: float
    memory: dict[str, int]


def run(suite: Suite, admin: URL, *, tests: int, workers: int = 0) -> Run:
    """Run a suite in a process of its own.

    Args:
        suite: Which.
        admin: The maintenance database of a server, as a superuser.
        tests: How many tests.
        workers: How many workers of xdist, or 0 for none.

    Raises:
        RuntimeError: Not all of them passed.
    """
    with tempfile.TemporaryDirectory() as folder, database(admin) as url:
        result = Path(folder) / "result.json"
        plugins = ("clock", *suite.plugins, *(("xdist.plugin",) if workers else ()))
        start = time.perf_counter()
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_each("-p", plugins),
                *(["-n", str(workers)] if workers else []), ".",
            ],
            cwd=FOLDER / suite.folder,
            env=os.environ | {
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONPATH": os.pathsep.join([str(FOLDER), str(ROOT)]),
                "DATABASE_URL": url.render_as_string(hide_password=False),
                "GREENROOM_SERVER_URL": conninfo(admin),
                "BENCH_TESTS": str(tests),
                "BENCH_POOL": "queue" if suite.pooled else "null",
                "BENCH_RESULT": str(result),
            },
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        whole = time.perf_counter() - start
        if done.returncode != 0 or f"{tests} passed" not in done.stdout:
            raise RuntimeError(f"{suite.name}: not all of {tests} tests passed:\n{done.stdout}{done.stderr}")
        found: dict[str, Any] = json.loads(result.read_text())
    ends = found["ends"]
    return Run(
        test=[after - before for before, after in itertools.pairwise(ends)],
        whole=whole,
        memory=found["memory"],
    )


def measure(admin: URL, *, tests: int, rounds: int, chosen: tuple[Suite, ...] = SUITES) -> dict[str, Spread]:
    """The time of one test under each of the suites: of all tests of all rounds, but for each run's first.

    Args:
        admin: The maintenance database of a server, as a superuser.
        chosen: The suites.
        tests: How many tests each run has.
        rounds: How often each suite is run, in a new order each time.
    """
    measured: dict[str, list[float]] = {suite.name: [] for suite in chosen}
    for _ in range(rounds):
        for suite in random.sample(chosen, len(chosen)):
            measured[suite.name] += run(suite, admin, tests=tests).test
    return {name: Spread.of(seconds) for name, seconds in measured.items()}


def _each(option: str, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in (option, value)]


@contextmanager
def database(admin: URL) -> Iterator[URL]:
    """An empty database for a suite that brings none, as its application wants it."""
    name = f"bench_suite_{random.randrange(10**9)}"
    with psycopg.connect(conninfo(admin), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield admin.set(drivername="postgresql+asyncpg", database=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
