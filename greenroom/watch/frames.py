"""The frames of what runs now, also those on the other side of SQLAlchemy's greenlets, and which of them are the user's."""

from __future__ import annotations

import functools
import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

import greenlet  # type: ignore[import-untyped]

_OURS: Final = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES: Final = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the user's own code.

    Attributes:
        file: Its file, absolute.
        number: Its number.
        function: The function that it is in.
    """

    file: str
    number: int
    function: str

    @property
    def where(self) -> str:
        """`file:line`, relative to the current folder where the file is below it."""
        file = Path(self.file)
        shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        return f"{shown}:{self.number}"

    @property
    def text(self) -> str:
        """The line itself, if its file is still there."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.text else self.where


def frames(start: FrameType | None = None) -> Iterator[FrameType]:
    """The frames of the caller, the innermost first.

    SQLAlchemy runs its synchronous side in a greenlet. The frames go on in the coroutine that awaits it, and in those that
    await that one, up to the event loop.

    Args:
        start: The first of them; by default the caller's.
    """
    frame: FrameType | None = start or sys._getframe(1)  # noqa: SLF001 - the documented way to a frame
    current = greenlet.getcurrent()
    while True:
        while frame is not None:
            yield frame
            frame = frame.f_back
        parent = current.parent
        if parent is None:
            return
        current = parent
        frame = current.gr_frame


def line_of(frame: FrameType) -> Line:
    """Where a frame is."""
    return Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def users_place() -> tuple[CodeType, int] | None:
    """The innermost of the user's own functions that run now, and its line; None if there is none, as in a framework's query.

    Made for each checkout of a connection: hence no generator, and no `Line`.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    current = greenlet.getcurrent()
    while True:
        while frame is not None:
            code = frame.f_code
            if is_users(code.co_filename):
                return code, frame.f_lineno
            frame = frame.f_back
        current = current.parent
        if current is None:
            return None
        frame = current.gr_frame


@functools.cache
def is_users(file: str) -> bool:
    """Whether a file is the user's own: neither installed, nor Python's, nor greenroom's, nor made of a string."""
    return not (
        file.startswith(("<", _OURS, *_LIBRARIES))
        or "site-packages" in file
        or "dist-packages" in file
        or not file.endswith(".py")
    )
