"""Frames and lines of code: of what runs now, also on the other side of SQLAlchemy's greenlets, and of what has failed."""

from __future__ import annotations

import functools
import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import greenlet  # type: ignore[import-untyped]

_GREENROOM: Final = str(Path(__file__).parents[1]) + os.sep
_STDLIB: Final = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
_LIBRARIES: Final = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python3\.\d+[/\\]|_cy\.py$")
# An error tracker cuts off what is in front of a package.
_CUT_OFF: Final = re.compile(
    r"^(?:site-packages|_pytest|aiosqlite|anyio|asyncio|asyncpg|celery|concurrent|fastapi|greenlet|gunicorn|httpcore|httpx2?|litestar"
    r"|pluggy|psycopg2?|psycopg_pool|pydantic|pydantic_core|pytest|pytest_asyncio|sentry_sdk|sqlalchemy|sqlmodel|starlette|taskiq"
    r"|uvicorn|uvloop|contextlib\.py|runpy\.py|threading\.py|typing\.py)(?:[/\\]|$)"
)
_CELL: Final = re.compile(r"^(?:Cell In ?\[\d+\]$|<ipython-input-)")
"""Code of a notebook, as IPython names it."""
_GREENROOM_ELSEWHERE: Final = re.compile(
    r"(?:^|[/\\])greenroom[/\\](?:diagnosis|explain|loop|plugin|watch)[/\\]"
)


@functools.cache
def is_users(file: str, *, pasted: bool = False) -> bool:
    """Whether a file is the user's own: neither installed, nor Python's, nor greenroom's, nor made of a string.

    Args:
        file: Its path, as Python has it.
        pasted: It is from the text of a traceback, so the path may be one of another machine.
    """
    if pasted and _CELL.match(file):
        return True
    if not file.endswith(".py") or file.startswith((_GREENROOM, *_STDLIB)) or _LIBRARIES.search(file):
        return False
    if pasted:
        return not (_GREENROOM_ELSEWHERE.search(file) or _CUT_OFF.match(file))
    # What is compiled with Cython has relative paths: those of the machine that it was compiled on.
    return os.path.isabs(file)  # noqa: PTH117


def place(file: str, number: int) -> str:
    """`file:line`, the file relative to the working folder if it is below it."""
    path = Path(file)
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else file}:{number}"


def place_of(code: CodeType | None) -> str:
    """Where a function is, `file:line`; empty if that is not known."""
    return place(code.co_filename, code.co_firstlineno) if code else ""


@dataclass(frozen=True)
class Line:
    """A line of code.

    Attributes:
        file: Its file, as Python or a pasted text has it.
        number: Its number.
        function: The function that it is in.
    """

    file: str
    number: int
    function: str

    @property
    def is_users(self) -> bool:
        """Whether it is the user's own."""
        return is_users(self.file)

    @property
    def where(self) -> str:
        """`file:line`, the file relative to the working folder if it is below it."""
        return place(self.file, self.number)

    @property
    def text(self) -> str:
        """The line itself, if its file is still there."""
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.text else self.where


@dataclass(frozen=True)
class Frame(Line):
    """A line that an exception passed through.

    Attributes:
        text: The line itself.
        expression: The part of it that was being evaluated; empty if unknown.
        locals: The function's variables; empty if it is a pasted one.
        globals: Its module's; empty if it is a pasted one.
        code: The function's code; None if it is a pasted one.
        values: The variables as a pasted text has printed them; empty if it has not.
    """

    text: str = ""
    expression: str = ""
    locals: Mapping[str, Any] = field(default_factory=dict, repr=False)
    globals: Mapping[str, Any] = field(default_factory=dict, repr=False)
    code: CodeType | None = field(default=None, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_users(self) -> bool:
        """Whether it is the user's own."""
        return is_users(self.file, pasted=self.code is None)

    @property
    def where(self) -> str:
        """`file:line`, as in `Line`; of a pasted one as the text has it."""
        return f"{self.file}:{self.number}" if self.code is None else place(self.file, self.number)

    @property
    def call(self) -> str:
        """What was being evaluated: the expression if it is known, else the line."""
        return self.expression or self.text

    @property
    def quoted(self) -> str:
        """The same as code in a sentence; words if that is unknown."""
        return f"`{self.call}`" if self.call else "the code"

    @property
    def of_sqlalchemy(self) -> bool:
        """Whether it is SQLAlchemy's own."""
        return "/sqlalchemy/" in self._path

    @property
    def of_library(self) -> bool:
        """Whether it is of a package or of Python itself."""
        return _LIBRARIES.search(self.file) is not None or _CUT_OFF.match(self.file) is not None

    def within(self, *files: str) -> bool:
        """Whether it is of one of these files of libraries, such as `sqlalchemy/orm/session.py`."""
        return self._path.endswith(tuple(f"/{file}" for file in files))

    @property
    def _path(self) -> str:
        return f"/{self.file}".replace("\\", "/")


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


def users_line() -> Line | None:
    """The innermost of the user's own lines that run now; None if there is none, as in a framework's query."""
    return next((line_of(frame) for frame in frames() if is_users(frame.f_code.co_filename)), None)
