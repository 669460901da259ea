"""The command `explain`: why the errors in a pasted traceback were raised."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from greenroom.errors import GreenroomError
from greenroom.explain.page import section
from greenroom.explain.pasted import explain_text
from greenroom.output import Console


def explain(_config: object, options: argparse.Namespace, console: Console) -> int:
    """Print an explanation of each error that is known, or a section of the page about them. 1 if there is none."""
    if options.about is not None:
        print(section(options.about))
        return 0
    if options.file is None and sys.stdin.isatty():
        console.say("paste a traceback, then Ctrl-D")
    explanations = explain_text(sys.stdin.read() if options.file is None else _text(options.file))
    if not explanations:
        console.error(
            "Nothing in this text is an error that greenroom knows.",
            "docs/faq.md lists those; the frames of a traceback and its last lines are needed",
        )
        return 1
    print("\n\n".join(explanation.render() for explanation in explanations))
    return 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise GreenroomError(f"{file} cannot be read: {error.strerror}.") from None
