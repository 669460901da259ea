"""A failed test's report says why it failed, where that is known. Nothing is imported for it before a test fails."""

from __future__ import annotations

import os
import traceback
from collections.abc import Generator
from typing import Final

import pytest
from _pytest._code.code import ExceptionRepr

TITLE: Final = "greenroom: why this failed"
"""Heads the section of the report."""


class Explaining:
    """Adds an explanation to the report of a test, fixture or teardown that failed."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Explain what was raised, if it is an error that is known."""
        report = yield
        if report.failed and call.excinfo is not None:
            _add(report, _explanation(call.excinfo.value))
        return report


def _explanation(error: BaseException) -> str:
    """The explanation, or nothing: what is wrong with the explaining must not hide what is wrong with the test."""
    try:
        from greenroom.explain import explain

        explanation = explain(error)
    except Exception:  # noqa: BLE001 - the one place
        return traceback.format_exc() if os.environ.get("GREENROOM_TRACEBACK") == "1" else ""
    return explanation.render() if explanation else ""


def _add(report: pytest.TestReport, text: str) -> None:
    if not text:
        return
    if isinstance(report.longrepr, ExceptionRepr):
        # It is part of the failure then: also without captured output, in JUnit's file, and sent over by a worker.
        report.longrepr.addsection(TITLE, text)
    else:
        report.sections.append((TITLE, text))
