"""Files that init writes whole: their first line says so, and whether somebody has changed them since."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from greenroom.init import section

_MARK: Final = "# Written by `greenroom init {option}` ({digest}); init leaves it alone if you change it."


def is_ours(path: Path) -> bool:
    """Whether init has written a file, and nobody has changed it since."""
    return path.is_file() and section.is_ours(path.read_text(encoding="utf-8"))


def changed(files: dict[Path, str], option: str) -> tuple[dict[Path, str], list[Path]]:
    """Sort out what is to be written.

    Args:
        files: The text that each file should have, without the first line.
        option: The option of init that writes them.

    Returns:
        The files that are missing or that init has written otherwise before, with their whole text; and those that are somebody
        else's and stay as they are.
    """
    wanted: dict[Path, str] = {}
    theirs: list[Path] = []
    for path, body in files.items():
        if not body:
            if not path.is_file():
                wanted[path] = body  # what is to be empty has no first line
            continue
        content = f"{_MARK.format(option=option, digest=section.digest(body))}\n{body}"
        if path.is_file() and not is_ours(path):
            theirs.append(path)
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            wanted[path] = content
    return wanted, theirs
