"""One line at the end of a run: what the database cost."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from greenroom.stage import Stage

_OUTPUT: Final = "greenroom"
"""Under this key a worker tells the managing process."""


class Summary:
    """Gathers the times of this process and of its workers, in seconds.

    Args:
        stage: This process's stage.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._openings: list[float] = []
        self._rewinds: list[float] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Take the times of this process, and hand them on if it is a worker."""
        if self._stage.in_use:
            self._openings.append(self._stage.opening)
            self._rewinds += self._stage.rewinds
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_OUTPUT] = (self._openings, self._rewinds)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the times of a worker that has ended; one that crashed has told none."""
        openings, rewinds = getattr(node, "workeroutput", {}).get(_OUTPUT, ((), ()))
        self._openings += openings
        self._rewinds += rewinds

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the line, if there was a database."""
        if self._openings and terminalreporter.verbosity >= 0:
            line = f"greenroom: database ready in {max(self._openings):.2f} s"
            if self._rewinds:
                line += f"; {len(self._rewinds)} rewinds in {sum(self._rewinds):.2f} s"
                line += f", median {statistics.median(self._rewinds) * 1000:.2f} ms"
            terminalreporter.write_line(line)
