"""The tier of each test: a marker, by folder."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

TIERS = {
    "unit": "unit",
    "integration": "integration",
    "api": "api",
    "contract": "contract",
    "greenroom": "toolkit",
    "scripts": "toolkit",
    "lab": "toolkit",
    "docker": "toolkit",
}
"""Folder of tests/ to marker."""

HERE = Path(__file__).parent


def pytest_configure() -> None:
    """Heed Ctrl-C also where a script runs this in its background: what the tests start would ignore it, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the tier of its folder."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(TIERS[item.path.relative_to(HERE).parts[0]])
