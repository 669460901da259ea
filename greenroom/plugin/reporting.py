"""Write the data that `greenroom ci` needs at the end of a run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greenroom.record import INSIDE, REPORTS, Outcome, RunRecord, Test

if TYPE_CHECKING:
    from greenroom.plugin.known import Findings
    from greenroom.worker import Worker


def register(pytest_config: pytest.Config, worker: Worker, findings: Findings) -> None:
    """Report on this run, if `greenroom ci` has started it. Its own workers and child processes do not report."""
    folder = os.environ.pop(REPORTS, None)
    if folder is not None:
        pytest_config.pluginmanager.register(Reporting(worker, Path(folder), findings), "greenroom-reporting")


class Reporting:
    """Writes down what the run was and, if a test failed, the end of the server's log.

    Args:
        worker: This process.
        folder: Where to.
        findings: What the watch has found.
    """

    def __init__(self, worker: Worker, folder: Path, findings: Findings) -> None:
        self._worker = worker
        self._findings = findings
        self._folder = folder
        self._began = time.monotonic()
        self._tests: list[Test] = []
        self._phases: dict[tuple[str, object], list[pytest.TestReport]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the phases of a test, here or in a worker, until it is over."""
        key = (report.nodeid, getattr(report, "node", None))
        phases = self._phases.setdefault(key, [])
        phases.append(report)
        if report.when not in {
            "setup",
            "call",
        }:  # also for a worker that crashed, in whose report it is "???"
            self._tests += _tests(self._phases.pop(key))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that could not be collected, or that skips all of its tests."""
        if not report.passed:
            # Only the text tells why.
            reason = "\n".join(re.findall("^E  +(.+)", report.longreprtext, re.MULTILINE))
            self._tests.append(_test(report, "error" if report.failed else "skipped", 0.0, reason))

    def pytest_internalerror(self, excrepr: object) -> None:
        """Note that the run itself failed."""
        crash = getattr(excrepr, "reprcrash", None)
        self._tests.append(
            Test("internal error", "", "error", 0.0, _first_line(crash.message if crash else ""))
        )

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report while the server is still running."""
        worker = self._worker
        for phases in self._phases.values():  # of tests that were interrupted
            self._tests += _tests(phases)
        # pytest-cov completes its options from coverage's settings, in an object of its own.
        coverage = session.config.pluginmanager.get_plugin("_cov")
        record = RunRecord(
            engine=os.environ.get(INSIDE) or f"{worker.server.kind} ({worker.why})",
            fail_under=coverage.options.cov_fail_under if coverage else None,
            seconds=time.monotonic() - self._began,
            tests=tuple(self._tests),
            findings=self._findings.found,
        )
        record.save(self._folder)
        if record.failed and (log := worker.server.log()):
            (self._folder / "postgres.log").write_text(log, encoding="utf-8")


def _tests(phases: list[pytest.TestReport]) -> Iterator[Test]:
    """What became of a test: what failed or was skipped in it, or else that it passed, if it came to that."""
    seconds = sum(report.duration for report in phases)
    decisive = [report for report in phases if report.failed or report.skipped]
    for report in decisive or [report for report in phases if report.passed and report.when == "call"][:1]:
        outcome: Outcome = "passed" if report.passed else "skipped" if report.skipped else "failed"
        if report.failed and report.when != "call":
            outcome = "error"
        yield _test(report, outcome, seconds)


def _test(
    report: pytest.TestReport | pytest.CollectReport, outcome: Outcome, seconds: float, reason: str = ""
) -> Test:
    file, line, _ = report.location or (report.nodeid, None, "")
    message = ""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = _first_line(reason or (crash.message if crash else report.longreprtext))
        if report.when in {"setup", "teardown"}:
            message = f'failed on {report.when} with "{message}"'
        # The last line of the traceback that is in the test's file.
        lines = re.findall(rf"^{re.escape(file)}:([0-9]+): ", report.longreprtext, re.MULTILINE)
        line = int(lines[-1]) - 1 if lines else line
    return Test(report.nodeid, file if line is None else f"{file}:{line + 1}", outcome, seconds, message)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
