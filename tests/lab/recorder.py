"""A pytest plugin that writes down what became of each test of a program, in a form that two runs can be compared by.

It runs in each of the laboratory's environments, old and new, so it imports nothing of this repository.
"""

from __future__ import annotations

import json
import os
import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ["LAB_PROGRAMS"])

_outcomes: list[dict[str, Any]] = []
_warnings: list[str] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Remember each failed phase, and each call that passed."""
    report = yield
    name = item.name
    if report.failed:
        assert call.excinfo is not None
        error = call.excinfo.value
        _outcomes.append({"test": name, "phase": report.when, "error": _error(error), "line": _line(error)})
        if hidden := _hidden(error):
            _outcomes[-1]["hidden"] = hidden
    elif report.when == "call" or report.skipped:
        _outcomes.append(
            {"test": name, "phase": report.when, "error": "" if report.passed else "skipped", "line": ""}
        )
    return report


def pytest_exception_interact(call: pytest.CallInfo[None], report: Any) -> None:
    """Remember a program that cannot be collected: with other versions, an import can fail, or a decorator."""
    if isinstance(report, pytest.CollectReport):
        assert call.excinfo is not None
        error = call.excinfo.value
        error = getattr(error, "__cause__", None) or error
        _outcomes.append(
            {
                "test": Path(report.nodeid).name,
                "phase": "collection",
                "error": _error(error),
                "line": _line(error),
            }
        )


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what greenroom says about a failure, where it is there: the first line of its explanation."""
    for name, text, _separator in getattr(report.longrepr, "sections", ()):
        if name == "greenroom: why this failed":
            _outcomes[-1]["explained"] = _plain(text.partition("\n")[0])


def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """Remember the warnings that tell of a mistake in a program: what is deprecated is another matter."""
    if (
        issubclass(warning_message.category, RuntimeWarning)
        or warning_message.category.__name__ == "SAWarning"
    ):
        text = f"{warning_message.category.__name__}: {_plain(str(warning_message.message))}"
        if text not in _warnings:
            _warnings.append(text)


def pytest_sessionfinish() -> None:
    """Write it all down."""
    Path(os.environ["LAB_RESULT"]).write_text(
        json.dumps({"outcomes": _outcomes, "warnings": sorted(_warnings)})
    )


def _error(error: BaseException) -> str:
    kind = type(error)
    module = "" if kind.__module__ in {"builtins", "_pytest.outcomes"} else f"{kind.__module__}."
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{module}{kind.__name__}: {_plain(text)}".rstrip(": ")


def _hidden(error: BaseException) -> str:
    """The error of a loop that led to this one, and that its text does not tell; a suppressed context no report shows."""
    chain = [error]
    for one in chain:
        chain += [
            other for other in (one.__cause__, one.__context__) if other is not None and other not in chain
        ]
    shown = _error(error)
    return next((_error(one) for one in chain if "loop" in str(one) and "loop" not in shown), "")


def _plain(text: str) -> str:
    """Without what is another each time: addresses, numbers of tasks, paths, and how a task is printed."""
    text = re.sub(
        r"<Task .*> got Future <Future .*> attached", "<Task …> got Future <Future …> attached", text
    )
    text = re.sub(r" ?\(Background on this error at: [^)]*\)", "", text)
    text = re.sub(r"0x[0-9a-f]+", "0x…", text)
    text = re.sub(r"(?:/[\w.+-]+)+/", "", text)
    return text if len(text) <= 320 else text[:319] + "…"


def _line(error: BaseException) -> str:
    """The deepest line in a program, with its text."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(FOLDER):
            return f"{Path(frame.filename).name}:{frame.lineno} {frame.line}"
    return ""
