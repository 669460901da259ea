"""A failure in the form that it is recognised in: what was raised, and the frames that it passed through.

A live exception and a pasted traceback both come in this form. A pasted one has no objects: its frames have no locals and
its `error` is None.
"""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from greenroom.explain import source

if TYPE_CHECKING:
    from types import CodeType

T = TypeVar("T")

_OURS: Final = str(Path(__file__).parent.parent) + os.sep
_LIBRARIES: Final = re.compile(
    r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python3\.\d+[/\\]|^<|\.pyx$|_cy\.py$"
)
_STDLIB: Final = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))


@dataclass(frozen=True)
class Frame:
    """One line that the exception passed through.

    Attributes:
        file: The file, as Python or the pasted text has it.
        line: The number of the line.
        function: The function's name.
        text: The line's source.
        expression: The part of it that was being evaluated; empty if unknown.
        locals: The function's variables; empty if it is a pasted one.
        globals: Its module's; empty if it is a pasted one.
        code: The function's code; None if it is a pasted one.
    """

    file: str
    line: int
    function: str
    text: str = ""
    expression: str = ""
    locals: Mapping[str, Any] = field(default_factory=dict, repr=False)
    globals: Mapping[str, Any] = field(default_factory=dict, repr=False)
    code: CodeType | None = field(default=None, repr=False)

    @property
    def is_users(self) -> bool:
        """Whether it is neither a library's, nor Python's, nor greenroom's."""
        return not (
            self.file.startswith((_OURS, *_STDLIB))
            or _LIBRARIES.search(self.file)
            # What is compiled with Cython has paths of the machine that it was compiled on.
            or (self.code is not None and not Path(self.file).is_absolute())
            # A pasted one of another machine.
            or (
                self.code is None
                and re.search(r"(^|[/\\])greenroom[/\\](loop|plugin|explain)[/\\]", self.file)
            )
        )

    @property
    def where(self) -> str:
        """`file:line`, the file relative to the working folder if it is below it."""
        return place(self.file, self.line) if self.code is not None else f"{self.file}:{self.line}"

    @property
    def call(self) -> str:
        """What was being evaluated: the expression if it is known, else the line."""
        return self.expression or self.text

    @property
    def of_sqlalchemy(self) -> bool:
        """Whether it is SQLAlchemy's own."""
        return "/sqlalchemy/" in self.file.replace("\\", "/")

    def within(self, *files: str) -> bool:
        """Whether it is of one of these files of libraries, such as `sqlalchemy/orm/session.py`."""
        return self.file.replace("\\", "/").endswith(tuple(f"/{file}" for file in files))


@dataclass(frozen=True)
class Failure:
    """One exception of a chain.

    Attributes:
        kinds: The full names of the exception's class and its bases; of a pasted one only the printed name.
        message: Its text.
        frames: What it passed through, the innermost last.
        error: The exception itself; None if it is a pasted one.
    """

    kinds: tuple[str, ...]
    message: str
    frames: tuple[Frame, ...]
    error: BaseException | None = field(default=None, repr=False)

    def of(self, *kinds: str) -> bool:
        """Whether it is of one of these classes, each by its full name, built-in ones without a module."""
        return not set(kinds).isdisjoint(self.kinds)

    @property
    def users(self) -> Frame | None:
        """The user's own line: the innermost frame that is neither a library's, nor Python's, nor greenroom's."""
        return next((frame for frame in reversed(self.frames) if frame.is_users), None)

    @property
    def raised_by_user(self) -> bool:
        """Whether the user's own code raised it, and not a library."""
        return bool(self.frames) and self.frames[-1].is_users

    @property
    def where(self) -> str:
        """The user's own line, `file:line`; empty if unknown."""
        return self.users.where if self.users else ""

    @property
    def call(self) -> str:
        """What the user's own line did; `it` if that is unknown."""
        return (self.users.call if self.users else "") or "it"

    @property
    def after_users(self) -> tuple[Frame, ...]:
        """The frames of libraries that the user's own line led into."""
        users = self.users
        return self.frames if users is None else self.frames[self.frames.index(users) + 1 :]

    @property
    def in_sqlalchemy(self) -> bool:
        """Whether SQLAlchemy has raised it or passed it on. A mock raises the same, and a pasted text may have no frames."""
        return self.error is None or any(frame.of_sqlalchemy for frame in self.frames)

    def passed(self, file: str, *functions: str) -> Frame | None:
        """The innermost frame of a library's file, if a function of these names (or any) is there."""
        return next(
            (
                frame
                for frame in reversed(self.frames)
                if frame.within(file) and (not functions or frame.function in functions)
            ),
            None,
        )

    def found(self, kind: type[T]) -> Iterator[T]:
        """The variables of all frames that are of a type, the innermost first. By type(): proxies and mocks lie."""
        for frame in reversed(self.frames):
            for value in tuple(frame.locals.values()):
                if issubclass(type(value), kind):
                    yield value


def place(file: str, line: int) -> str:
    """`file:line`, the file relative to the working folder if it is below it."""
    return f"{os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file}:{line}"


def name_of(kind: type) -> str:
    """A class's full name; without a module if it is built in."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def failure_of(error: BaseException) -> Failure:
    """One live exception, without those that it was raised from."""
    frames = []
    entry = error.__traceback__
    while entry is not None:
        frame, code = entry.tb_frame, entry.tb_frame.f_code
        frames.append(
            Frame(
                file=code.co_filename,
                line=entry.tb_lineno,
                function=code.co_name,
                text=linecache.getline(code.co_filename, entry.tb_lineno).strip(),
                expression=source.expression(entry),
                locals=frame.f_locals,
                globals=frame.f_globals,
                code=code,
            )
        )
        entry = entry.tb_next
    return Failure(tuple(map(name_of, type(error).__mro__)), str(error), tuple(frames), error)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those behind it, each once, the outermost first.

    That is its cause, what it was raised in spite of (also if that is suppressed, as SQLAlchemy does), the driver's own,
    and the members of a group. What an assertion or a `pytest.fail()` in an except block was raised in spite of is no
    reason for it: the test expected that one.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        behind = [current.__cause__, getattr(current, "orig", None)]
        if not (
            isinstance(current, AssertionError)
            or "_pytest.outcomes.OutcomeException" in map(name_of, type(current).__mro__)
        ):
            behind.append(current.__context__)
        if isinstance(current, BaseExceptionGroup):
            behind += current.exceptions
        waiting += [found for found in behind if isinstance(found, BaseException)]
