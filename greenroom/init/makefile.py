"""A `greenroom.mk` beside an existing Makefile, which includes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from greenroom.init import section

NAME: Final = "greenroom.mk"

_TARGETS: Final = {
    "test-up": ("Start this checkout's Postgres and migrate it", "up"),
    "test": ("Run the tests: make test ARGS='-x -k login'", "test $(ARGS)"),
    "test-down": ("Stop this checkout's Postgres and remove its data", "down"),
}


def files(project: Path, runs: str) -> dict[Path, str]:
    """The files to write, by path: nothing if there is no Makefile, or if somebody has changed ours.

    Args:
        project: The project's folder.
        runs: What stands before a command that runs in the project's environment.
    """
    makefile = next(
        (project / name for name in ("GNUmakefile", "makefile", "Makefile") if (project / name).is_file()),
        None,
    )
    if makefile is None:
        return {}
    text = makefile.read_text(encoding="utf-8")
    own = project / NAME
    there = own.read_text(encoding="utf-8") if own.is_file() else ""
    if there and not section.is_ours(there):
        return {}
    lines = []
    for target, (says, command) in _TARGETS.items():
        if not re.search(rf"(?m)^{target}\s*:", text):
            lines += [f".PHONY: {target}", f"{target}: ## {says}", f"\t{runs}greenroom {command}", ""]
    if not lines:
        return {}
    body = "\n".join(lines)
    wanted = {
        own: f"# Written by `greenroom init` ({section.digest(body)}); the Makefile includes it.\n{body}"
    }
    if not re.search(rf"(?m)^-?include\s+.*{re.escape(NAME)}", text):
        wanted[makefile] = text + ("" if text.endswith("\n") else "\n") + f"\ninclude {NAME}\n"
    return {
        path: content
        for path, content in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != content
    }
