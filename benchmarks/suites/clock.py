"""A pytest plugin, the same for every suite: how long the tests took, and what memory the run had."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import psutil
import pytest

TESTS = int(os.environ.get("BENCH_TESTS", "100"))

_ends: list[float] = []
_memory: dict[str, int] = {}
_failed: set[str] = set()
_seen: set[str] = set()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many tests as were asked for."""
    if "number" in metafunc.fixturenames:
        metafunc.parametrize("number", range(TESTS))


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish() -> None:
    """The end of a test and of its teardown. In a run with workers this is heard by the managing process."""
    _ends.append(time.perf_counter())
    if len(_ends) == min(100, TESTS):
        _memory["start"] = _resident()
    if len(_ends) == TESTS:
        _memory["end"] = _resident()  # of the workers, too, which end before the session does


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test that failed, in its set-up or teardown, too."""
    _seen.add(report.nodeid)
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write it down, where BENCH_RESULT says."""
    if hasattr(session.config, "workerinput"):
        return
    outcomes = {"passed": len(_seen) - len(_failed), "failed": len(_failed)}
    Path(os.environ["BENCH_RESULT"]).write_text(
        json.dumps({"ends": _ends, "memory": _memory, "outcomes": outcomes})
    )


def _resident() -> int:
    """Bytes of memory that are this process's and its children's own: a shared page counts in one of them."""
    me = psutil.Process()
    return sum(process.memory_full_info().uss for process in (me, *me.children(recursive=True)))
