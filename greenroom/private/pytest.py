"""pytest 8.0 to 9.x."""

from __future__ import annotations

import pytest
from _pytest._code.code import ExceptionRepr


def add_section(report: pytest.TestReport | pytest.CollectReport, title: str, text: str) -> None:
    """Add a section to a failure: shown without captured output, too, in JUnit's file, and sent over by a worker."""
    if isinstance(report.longrepr, ExceptionRepr):
        report.longrepr.addsection(title, text)
    else:
        report.sections.append((title, text))
