"""A plugin of pytest that writes each test's outcome into a file, for `greenroom convert --verify`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

FILE: Final = "GREENROOM_OUTCOMES"
"""The variable that names the file."""

PASSED, SKIPPED, XFAILED, XPASSED, FAILED, ERROR = (
    "passed",
    "skipped",
    "xfailed",
    "xpassed",
    "failed",
    "error",
)


def pytest_configure(config: pytest.Config) -> None:
    """Write in the process that hears of all tests: not in xdist's workers."""
    if FILE in os.environ and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(Path(os.environ[FILE])), "greenroom-outcomes")


class Outcomes:
    """The outcomes of a run.

    Args:
        file: Where they are written to: by test, the outcome and the reason.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, tuple[str, str]] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected is an error."""
        if report.failed:
            self._found[report.nodeid] = ERROR, _reason(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test's outcome is that of its call, unless something else goes wrong. What is run again counts again."""
        if report.when == "setup" and report.passed:
            self._found.pop(report.nodeid, None)
        elif report.failed:
            self._found[report.nodeid] = FAILED if report.when == "call" else ERROR, _reason(report)
        elif report.skipped:
            self._found[report.nodeid] = XFAILED if hasattr(report, "wasxfail") else SKIPPED, _reason(report)
        elif report.when == "call" and report.passed:
            self._found[report.nodeid] = XPASSED if hasattr(report, "wasxfail") else PASSED, ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """The run is over."""
        self._file.write_text(json.dumps(self._found), encoding="utf-8")


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """The first line of an error, or why a test is skipped."""
    found = report.longrepr
    if isinstance(found, tuple):
        return str(found[2]).removeprefix("Skipped: ")
    crash = getattr(found, "reprcrash", None)
    text = crash.message if crash is not None else str(found or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    return str(lines[0] if crash is not None else lines[-1])
