"""Add the reason to a failed test's report, if it is known. Nothing is imported for this before a test fails."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import pytest

from greenroom.diagnosis.exceptions import Raised, chain
from greenroom.private.pytest import add_section

if TYPE_CHECKING:
    from greenroom.worker import Worker

WHY: Final = "greenroom: why this failed"
SWALLOWED: Final = "greenroom: what the application raised"
ELSEWHERE: Final = "greenroom: another database"
RESTARTED: Final = "greenroom: the application was started again"
REWOUND: Final = "greenroom: rows that were rewound"
"""Head the sections of a report."""

_MISSING: Final = re.compile(
    r'Key \((?P<columns>[^)]+)\)=\((?P<values>[^)]*)\) is not present in table "(?P<table>[^"]+)"'
)


class Explaining:
    """Adds an explanation to the report of a test, fixture or teardown that failed, and of a file that cannot be imported.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._loop = worker.loop
        self._worker = worker
        self._known: set[str] = set()

    def pytest_configure(self) -> None:
        """Begin to note what the application catches itself."""
        self._worker.on_close(self._worker.watch.caught.install())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Explain the error that was raised, if it is known, or the one that a client has swallowed."""
        report = yield
        # Kept no longer than this: its frames keep what the application had open.
        swallowed, self._loop.swallowed = self._loop.swallowed, None
        if report.failed and call.excinfo is not None:
            caught = self._worker.watch.caught.take(call.excinfo.value)
            for title, text in _explanations(call.excinfo.value, swallowed, caught):
                add_section(report, title, text)
            if missing := self._rewound(call.excinfo.value):
                add_section(report, REWOUND, missing)
            if why := self._worker.application.take_restart():
                add_section(
                    report, RESTARTED, f"Before this test, since {why}.\nWhat it had in memory is gone."
                )
            # Those that an earlier test connected to have nothing to do with this one.
            elsewhere = [text for text in self._worker.elsewhere() if text not in self._known]
            if elsewhere:
                add_section(report, ELSEWHERE, "\n".join(elsewhere))
        if report.when != "setup":
            # What a fixture's request has raised may explain the test's failure.
            self._worker.watch.caught.forget()
        if report.when == "teardown":
            self._known = set(self._worker.elsewhere())
        return report

    def _rewound(self, error: BaseException) -> str:
        """What may have become of a row that another one refers to, if a test has been rewound before this one."""
        if not self._worker.database.rewinds:
            return ""
        texts = (str(each) for each in chain(error, expected=False))
        found = next(filter(None, map(_MISSING.search, texts)), None)
        if found is None:
            return ""
        return (
            f"There is no row in `{found['table']}` for {found['columns']} = {found['values']}. If an earlier test has written one, it was rewound\n"
            "with that test, also where something has kept the object or its key: a cache, a module's variable, or a\n"
            "fixture of wider scope that writes while a test runs. What such a fixture writes while it is set up stays.\n\n"
            "fix 1: write the row where the fixture is set up, before its `yield` or `return`\n"
            "fix 2: or write it in each test, and keep nothing from one test to the next"
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Explain the error that a file raised while it was imported."""
        report = yield
        call: pytest.CallInfo[object] | None = getattr(report, "call", None)
        if report.failed and call is not None and call.excinfo is not None:
            for title, text in _explanations(call.excinfo.value, None, []):
                add_section(report, title, text)
        return report


def _explanations(
    error: BaseException, swallowed: tuple[str, BaseException] | None, caught: list[Raised]
) -> list[tuple[str, str]]:
    """Return titles and texts: an error in the explaining must not hide the test's error.

    Only one of them is told as the cause.
    """
    try:
        from greenroom.explain import (
            explain,
            explain_caught,
            report_caught,
            report_swallowed,
            said_briefly,
        )

        explanation = explain(error)
        behind = {id(each) for each in chain(swallowed[1], expected=True)} if swallowed else set()
        found = explain_caught(each for each in caught if id(each.error) not in behind)
        if explanation is not None:
            text = explanation.render()
            if found:
                before = (
                    "Before that, the application caught what this may follow from; then mend that first:"
                )
                text = "\n".join([text, "", before, *map(said_briefly, found)])
            return [(WHY, text)]
        told = [(SWALLOWED, report_swallowed(*swallowed))] if swallowed else []
        return told + ([(SWALLOWED, report_caught(found))] if found else [])
    except Exception:  # noqa: BLE001 - the one place
        return [(WHY, traceback.format_exc())] if os.environ.get("GREENROOM_TRACEBACK") == "1" else []
