"""pytest 8.0 to 9.x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from _pytest._code.code import ExceptionRepr
from _pytest.fixtures import resolve_fixture_function


def add_section(report: pytest.TestReport | pytest.CollectReport, title: str, text: str) -> None:
    """Add a section to a failure: shown without captured output, too, in JUnit's file, and sent over by a worker."""
    if isinstance(report.longrepr, ExceptionRepr):
        report.longrepr.addsection(title, text)
    else:
        report.sections.append((title, text))


def function_of(fixture: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Callable[..., Any]:
    """The function of a fixture, bound to the instance of the test's class."""
    found: Callable[..., Any] = resolve_fixture_function(fixture, request)
    return found


def active_fixture(request: pytest.FixtureRequest, name: str) -> pytest.FixtureDef[Any]:
    """The fixture that a name stands for in a test."""
    found: pytest.FixtureDef[Any] = request._get_active_fixturedef(name)  # noqa: SLF001
    return found
