"""The lines at the end of a run: how much time the database and the application took, and which databases were connected to beside it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from greenroom.worker import Worker

_OUTPUT: Final = "greenroom"
"""The key under which a worker sends its times and notes to the managing process."""


class Summary:
    """Gathers the times of this process and of its workers, in seconds.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._openings: list[float] = []
        self._startups: list[list[float]] = []
        self._rewinds: list[float] = []
        self._notes: dict[str, None] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Collect the times of this process, and send them to the managing process if this is a worker."""
        for database in self._worker.databases.values():
            if database.is_open:
                self._openings.append(database.opening)
                self._rewinds += database.rewinds
        self._startups.append(self._worker.application.seconds)
        self._notes |= dict.fromkeys(self._worker.notes())
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_OUTPUT] = (
                self._openings,
                self._startups,
                self._rewinds,
                list(self._notes),
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Collect the times of a worker that has ended. A crashed worker sends none."""
        openings, startups, rewinds, notes = getattr(node, "workeroutput", {}).get(_OUTPUT, ((), (), (), ()))
        self._openings += openings
        self._startups += startups
        self._rewinds += rewinds
        self._notes |= dict.fromkeys(notes)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the lines, if there is something to say."""
        for line in self._notes:
            terminalreporter.write_line(f"greenroom: {line}")
        if self._openings and terminalreporter.verbosity >= 0:
            line = f"greenroom: database ready in {max(self._openings):.2f} s"
            # Workers start at the same time, so the slowest of them counts; one that starts for each test, with all of them.
            startups = max(self._startups, key=sum, default=[])
            if startups:
                times = f" {len(startups)} times" if len(startups) > 1 else ""
                line += f", application started{times} in {sum(startups):.2f} s"
            if self._rewinds:
                line += f"; {len(self._rewinds)} rewinds in {sum(self._rewinds):.2f} s"
                line += f", median {statistics.median(self._rewinds) * 1000:.2f} ms"
            terminalreporter.write_line(line)
