"""Attributes that a query did not load, or that a flush made void: what is advised would help."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.greenroom.conftest import ROOT


@pytest.mark.parametrize(
    ("how", "key", "says", "not_said"),
    [
        ("flushed", "visits", ['attribute_names=["visits"]', "or a flush or expire()"], "expire_on_commit"),
        ("flushed", "doubled", ['attribute_names=["doubled"]'], "expire_on_commit"),
        (
            "queried",
            "budget",
            ["select(Employee).options(selectin_polymorphic(Employee, [Manager]))", "Manager's own table"],
            "expire_on_commit",
        ),
        (
            "committed",
            "tasks",
            ['fix 1: load it again before it is read:\n    await session.refresh(employee, attribute_names=["tasks"])'],
            "was not commit()",
        ),
        ("committed", "desk", ['attribute_names=["desk_x", "desk_y"]'], '["desk"]'),
    ],
)  # fmt: skip
def test_what_would_help(how: str, key: str, says: list[str], not_said: str) -> None:
    """The explanation of an attribute that is not loaded advises what loads it, and nothing that would not."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.greenroom.unloaded", how, key],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [words for words in says if words not in done.stdout] == [], done.stdout
    assert not_said not in done.stdout
