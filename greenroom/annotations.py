"""What GitHub Actions shows at a line of a pull request: its workflow commands."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from greenroom.record import Found

_TITLES: Final = {"lazy_loads": "lazy load", "n_plus_one": "N+1"}


def wanted() -> bool:
    """Whether this runs on GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def commands(findings: Iterable[Found], root: Path) -> list[str]:
    """The commands for these findings, a line each, without those that are known.

    Args:
        findings: What a run has found.
        root: The project's folder. GitHub wants paths relative to the repository's.
    """
    lines = []
    for found in findings:
        if found.outcome == "known" or not found.file:
            continue
        file = Path(os.path.normpath(root / found.file))
        workspace = Path(os.environ.get("GITHUB_WORKSPACE", root))
        name = file.relative_to(workspace).as_posix() if file.is_relative_to(workspace) else found.file
        values = {"file": name, "line": str(found.number), "title": f"greenroom: {_TITLES[found.kind]}"}
        named = ",".join(f"{key}={_escaped(value, more=True)}" for key, value in values.items())
        level = "error" if found.outcome == "failed" else "warning"
        lines.append(f"::{level} {named}::{_escaped(found.title)} ({found.test})")
    return lines


def _escaped(text: str, *, more: bool = False) -> str:
    for mark in "%\r\n" + (":," if more else ""):
        text = text.replace(mark, f"%{ord(mark):02X}")
    return text
