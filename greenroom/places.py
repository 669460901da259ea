"""An error in a few lines: where it happened in the project's own files, and what it says."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

_OURS = Path(__file__).parent


def explained(error: BaseException, root: Path) -> str:
    """The places in files below `root` that the error passed through, the innermost last, and then its kind and text.

    Args:
        error: The error, with its traceback.
        root: The project's folder. What is installed below it does not count.
    """
    lines = [
        f"{os.path.relpath(frame.filename, root)}:{frame.lineno}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(root)
        and "site-packages" not in frame.filename
        and not Path(frame.filename).is_relative_to(_OURS)
    ]
    return "\n".join([*lines, f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])


def indented(text: str, last: int = 30) -> str:
    """The last lines of a text, moved to the right, to stand below a message."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-last:])
