"""What `greenroom ci` wants to know at the end of a run that it has started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greenroom.ci.facts import INSIDE, REPORTS, Facts

if TYPE_CHECKING:
    from greenroom.stage import Stage


def register(pytest_config: pytest.Config, stage: Stage) -> None:
    """Report on this run, if it is one of `greenroom ci`. What it starts itself, workers and others, does not report."""
    folder = os.environ.pop(REPORTS, None)
    if folder is not None:
        pytest_config.pluginmanager.register(Reporting(stage, Path(folder)), "greenroom-reporting")


class Reporting:
    """Writes down what the run was and, if a test failed, the end of the server's log.

    Args:
        stage: This process's stage.
        folder: Where to.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self._stage = stage
        self._folder = folder
        self._failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notice that a test failed, here or in a worker."""
        self._failed |= report.failed

    def pytest_internalerror(self) -> None:
        """Notice that the run itself failed."""
        self._failed = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write, while the server is still there."""
        stage = self._stage
        engine = os.environ.get(INSIDE) or f"{stage.server.kind} ({stage.why})"
        # pytest-cov completes its options from coverage's settings, in an object of its own.
        coverage = session.config.pluginmanager.get_plugin("_cov")
        Facts(engine, coverage.options.cov_fail_under if coverage else None).save(self._folder)
        if self._failed and (log := stage.server.log()):
            (self._folder / "postgres.log").write_text(log)
