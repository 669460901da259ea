"""Keeping the databases of the first tests of a run that fail."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from greenroom.database import kept
from greenroom.errors import GreenroomError

if TYPE_CHECKING:
    from greenroom.stage import Stage


class Keeping:
    """Writes the database down when a test fails, before its fixtures are torn down.

    Args:
        stage: This process's stage.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._left = stage.config.keep_failed

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Forget those of the last run; a worker leaves that to the managing process."""
        if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
            kept.clear(self._stage.config)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the database of a test that has failed, and say so in its report."""
        report = yield
        stage = self._stage
        if (
            report.failed
            and report.when != "teardown"
            and self._left
            and stage.in_use
            and stage.may_use_database
        ):
            self._left -= 1
            report.sections.append(("greenroom", self._keep(item.nodeid)))
        return report

    def _keep(self, test: str) -> str:
        try:
            file = kept.keep(self._stage.config, self._stage.admin_url, test)
        except (GreenroomError, OSError, subprocess.SubprocessError) as error:
            # The test has failed for another reason, and its report is what counts.
            return f"The database could not be kept: {error}"
        return (
            f"The database as it was (what was not committed is not in it): greenroom psql {shlex.quote(test)}\n"
            f"{file.relative_to(self._stage.config.root)}"
        )
