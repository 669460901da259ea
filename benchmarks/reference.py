"""The reference service's own API tests under greenroom and, with the same fixtures' names, under the other ways.

Of the other ways, only those that the tests, being synchronous, run under unchanged: rewriting them for pytest-asyncio would
measure another suite.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL

from benchmarks.measure import Spread
from benchmarks.suites import FOLDER, ROOT, database
from greenroom import config
from greenroom.urls import conninfo

WAYS: Final = {
    "greenroom": ("greenroom.plugin", None),
    "AsyncToSync session wrapper (asyncpg does not run)": ("peer", "wrapper"),
    "with TestClient per test, NullPool, DELETE and reseed": ("peer", "testclient"),
}


@dataclasses.dataclass(frozen=True)
class Suite:
    """The reference suite under one way.

    Attributes:
        seconds: Of pytest's process, by round.
        passed: How many tests passed. Another way may lack what a test is about.
        failed: How many did not.
    """

    seconds: Spread
    passed: int
    failed: int


def measure(admin: URL, *, rounds: int) -> dict[str, Suite]:
    """Run `tests/api` under each way, in a new order each round.

    Args:
        admin: The maintenance database of a server, as a superuser.
        rounds: How often.
    """
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    outcomes: dict[str, tuple[int, int]] = {}
    for _ in range(rounds):
        for name in random.sample(list(WAYS), len(WAYS)):
            took, *outcomes[name] = _run(admin, *WAYS[name])  # type: ignore[assignment]
            seconds[name].append(took)
    return {name: Suite(Spread.of(seconds[name]), *outcomes[name]) for name in WAYS}


def _run(admin: URL, plugin: str, peer: str | None) -> tuple[float, int, int]:
    settings = config.load(ROOT)
    assert settings is not None
    with tempfile.TemporaryDirectory() as folder, database(admin) as url:
        report = Path(folder) / "result.json"
        start = time.perf_counter()
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "clock",
                "-p", plugin, "-p", "pytester", "-W", "ignore", "tests/api",
            ],
            cwd=ROOT,
            env=os.environ | settings.environment | {
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": "",
                "PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER / "reference"), str(ROOT)]),
                "DATABASE_URL": url.render_as_string(hide_password=False),
                "GREENROOM_SERVER_URL": conninfo(admin),
                "BENCH_PEER": peer or "",
                "BENCH_ALEMBIC": str(ROOT / "pyproject.toml"),
                "BENCH_RESULT": str(report),
            },
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        took = time.perf_counter() - start
        if done.returncode not in (0, 1):
            raise RuntimeError(f"The reference suite did not run:\n{done.stdout}{done.stderr}")
        outcomes: dict[str, Any] = json.loads(report.read_text())["outcomes"]
    return took, outcomes["passed"], outcomes["failed"]
