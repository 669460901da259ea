"""Progress for a person at a terminal, plain lines for a machine. It goes to stderr: stdout is for results."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final, TextIO

Say = Callable[[str], None]
"""Takes one line for the user."""

_RED: Final = 31
_GREEN: Final = 32
_CYAN: Final = 36


class Console:
    """Prints lines that begin with a mark, coloured only where a terminal reads them.

    Args:
        stream: Where the lines go; by default stderr as it is at the time of each line.
        quiet: Print no progress.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet

    def say(self, line: str) -> None:
        """Print one line of progress."""
        if not self._quiet:
            self._line("greenroom:", _GREEN, line)

    def error(self, message: str, hint: str | None = None) -> None:
        """Print what is wrong and what helps."""
        self._line("error:", _RED, message)
        if hint:
            self._line("→", _CYAN, hint)

    def _line(self, mark: str, colour: int, text: str) -> None:
        stream = self._stream or sys.stderr
        if coloured(stream):
            mark = f"\033[{colour}m{mark}\033[0m"
        print(mark, text, file=stream, flush=True)


def coloured(stream: TextIO) -> bool:
    """Return whether a stream takes colours: NO_COLOR (no-color.org), FORCE_COLOR (force-color.org), or whether it is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


@contextlib.contextmanager
def timed(say: Say, before: str, after: str) -> Iterator[None]:
    """Say `before`, do the work, say `after` with how long it took."""
    say(f"{before} …")
    start = time.perf_counter()
    yield
    say(f"{after} in {time.perf_counter() - start:.2f} s")


def silent(_line: str) -> None:
    """A `Say` that prints nothing."""
