"""A failed test's report says why it failed, where that is known. Nothing is imported for it before a test fails."""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import pytest
from _pytest._code.code import ExceptionRepr

if TYPE_CHECKING:
    from greenroom.stage import Stage

WHY: Final = "greenroom: why this failed"
SWALLOWED: Final = "greenroom: what the application raised"
"""Head the sections of a report."""


class Explaining:
    """Adds an explanation to the report of a test, fixture or teardown that failed, and of a file that cannot be imported.

    Args:
        stage: This process's stage.
    """

    def __init__(self, stage: Stage) -> None:
        self._loop = stage.loop

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Explain what was raised, if it is an error that is known, or what a client has kept from being raised."""
        report = yield
        # Kept no longer than this: its frames keep what the application had open.
        swallowed, self._loop.swallowed = self._loop.swallowed, None
        if report.failed and call.excinfo is not None:
            title, text = _explanation(call.excinfo.value, swallowed)
            if text:
                _add(report, title, text)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Explain what a file raised while it was imported."""
        report = yield
        call: pytest.CallInfo[object] | None = getattr(report, "call", None)
        if report.failed and call is not None and call.excinfo is not None:
            title, text = _explanation(call.excinfo.value, None)
            if text:
                _add(report, title, text)
        return report


def _explanation(error: BaseException, swallowed: tuple[str, BaseException] | None) -> tuple[str, str]:
    """A title and a text, or nothing: what is wrong with the explaining must not hide what is wrong with the test."""
    try:
        from greenroom.explain import explain, told

        explanation = explain(error)
        if explanation is None and swallowed is not None:
            return SWALLOWED, told(*swallowed)
        return WHY, explanation.render() if explanation else ""
    except Exception:  # noqa: BLE001 - the one place
        return WHY, traceback.format_exc() if os.environ.get("GREENROOM_TRACEBACK") == "1" else ""


def _add(report: pytest.TestReport | pytest.CollectReport, title: str, text: str) -> None:
    if isinstance(report.longrepr, ExceptionRepr):
        # It is part of the failure then: also without captured output, in JUnit's file, and sent over by a worker.
        report.longrepr.addsection(title, text)
    else:
        report.sections.append((title, text))
