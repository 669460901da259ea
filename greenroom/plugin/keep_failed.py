"""Keep the databases of a run's first failed tests."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from greenroom.database import keep_failed
from greenroom.errors import GreenroomError

if TYPE_CHECKING:
    from greenroom.worker import Worker


class Keeping:
    """Dumps the database when a test fails, before its fixtures are torn down.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._left = worker.config.keep_failed

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remove those of the last run; a worker leaves this to the managing process."""
        if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
            keep_failed.clear(self._worker.config)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the database of a failed test, and say so in its report."""
        report = yield
        worker = self._worker
        if (
            report.failed
            and report.when != "teardown"
            and self._left
            and worker.database.is_open
            and worker.may_use_database
        ):
            self._left -= 1
            report.sections.append(("greenroom", self._keep(item.nodeid)))
        return report

    def _keep(self, test: str) -> str:
        try:
            file = keep_failed.keep(self._worker.config, self._worker.database.admin_url, test)
        except (GreenroomError, OSError, subprocess.SubprocessError) as error:
            # The test has failed for another reason, and its report is what counts.
            return f"The database could not be kept: {error}"
        return (
            f"The database as it was (what was not committed is not in it): greenroom psql {shlex.quote(test)}\n"
            f"{file.relative_to(self._worker.config.root)}"
        )
