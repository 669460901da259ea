"""The oldest versions that greenroom works with. docs/decisions/0010-floors.md says what breaks below each."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Final

from greenroom.errors import VersionError

FLOORS: Final = {
    "anyio": ("anyio", "4.0"),
    "click": ("Click", "8.1"),
    "junitparser": ("junitparser", "5.0"),
    "psutil": ("psutil", "5.9.4"),
    "psycopg": ("psycopg", "3.1.4"),
    "pytest": ("pytest", "8.0"),
    "pytest-cov": ("pytest-cov", "4.1"),
    "pytest-split": ("pytest-split", "0.8.2"),
    "sqlalchemy": ("SQLAlchemy", "2.0.4"),
    "starlette": ("Starlette", "0.37.2"),
}
"""Package to its name for people and its floor, as in pyproject.toml. pip keeps to them when greenroom is installed, but not
when something else is installed later."""


def check() -> None:
    """Check that no installed package is older than its floor. Packages that are not installed are not checked.

    Raises:
        VersionError: Something is.
    """
    found = {
        package: version
        for package, (_name, floor) in FLOORS.items()
        if (version := installed(package)) is not None and older(version, floor)
    }
    if found:
        raise VersionError(
            f"greenroom needs {', '.join(' '.join(FLOORS[package]) for package in found)} or newer. "
            f"Installed: {', '.join(found.values())}.",
            hint=f"pip install -U {' '.join(found)}",
        )


def older(version: str, floor: str) -> bool:
    """Whether a version is older than a floor."""
    return _release(version) < _release(floor)


def installed(package: str) -> str | None:
    """The version of a package, or None where it is not installed."""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    # `distribution.version` parses all of it, and with it the package's whole description: ten times as slow.
    found = re.search(r"^Version: *(\S+)", distribution.read_text("METADATA") or "", re.MULTILINE)
    return found[1] if found else distribution.version


def _release(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with, without zeros at the end: 8.0 and 8.0.0 are the same."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(number) for number in found[0].split(".")] if found else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
