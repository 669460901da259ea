"""What stands behind an exception."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from greenroom.diagnosis.frames import Line, is_users, place, place_of

_TO_THE_TEST: Final = ("greenroom/loop/thread.py", "greenroom/loop/client.py", "starlette/testclient.py")
"""What an error passes through on its way to a synchronous test."""

_TESTS: Final = re.compile(r"(?:^|[/\\])(?:test_[^/\\]*|[^/\\]*_test|conftest)\.py$")


@dataclass
class Raised:
    """An error that was raised in the application.

    Attributes:
        call: The request or `run(…)` that it was raised in; empty if that is not known.
        error: The error.
        traceback: Its traceback when it was last seen: a framework that has answered it may take that away.
        handler: The code of the exception handler that it was given to; None if there is none.
        loop: The event loop that ran when it was first seen; None if none did.
    """

    call: str
    error: BaseException
    traceback: TracebackType | None
    handler: CodeType | None = None
    loop: Any = None

    def restored(self) -> BaseException:
        """The error with its traceback."""
        if self.error.__traceback__ is None:
            self.error.__traceback__ = self.traceback
        return self.error

    @property
    def is_caught(self) -> bool:
        """Whether it was raised, and neither reached the test nor was caught in the test's own code."""
        files = self._files
        if not files or (_TESTS.search(files[0]) and self.handler is None):
            return False
        return not any(file.replace("\\", "/").endswith(_TO_THE_TEST) for file in files)

    @property
    def passed_users(self) -> bool:
        """Whether it has passed through the user's own code."""
        return any(map(is_users, self._files))

    @property
    def lines(self) -> list[Line]:
        """The user's own lines that it passed through, the innermost first."""
        entry, lines = self.restored().__traceback__, list[Line]()
        while entry is not None:
            code = entry.tb_frame.f_code
            if is_users(code.co_filename):
                lines.insert(0, Line(code.co_filename, entry.tb_lineno, code.co_name))
            entry = entry.tb_next
        return lines

    @property
    def _files(self) -> list[str]:
        entry, files = self.restored().__traceback__, []
        while entry is not None:
            files.append(entry.tb_frame.f_code.co_filename)
            entry = entry.tb_next
        return files

    @property
    def caught(self) -> str:
        """What caught it, in words; empty if that is not plain to see."""
        if self.handler is not None and is_users(self.handler.co_filename):
            return f"in {self.handler.co_name}(), {place_of(self.handler)}"
        entry = self.restored().__traceback__
        frame: FrameType | None = entry.tb_frame if entry else None
        if entry is None or frame is None or not is_users(frame.f_code.co_filename):
            return ""
        return f"in {frame.f_code.co_name}(), {place(frame.f_code.co_filename, entry.tb_lineno)}"


def full_name(kind: type) -> str:
    """A class's full name; without a module if it is built in."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def chain(error: BaseException, *, expected: bool) -> Iterator[BaseException]:
    """An exception and those behind it, each once, the outermost first.

    That is its cause, what it was raised in spite of (also if that is suppressed, as SQLAlchemy does), the driver's own,
    and the members of a group.

    Args:
        error: The exception.
        expected: With what an assertion or a `pytest.fail()` in an except block was raised in spite of. That is no reason for
            it: the test expected that one.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        behind = [current.__cause__, getattr(current, "orig", None)]
        if expected or not _is_of_test(current):
            behind.append(current.__context__)
        if isinstance(current, BaseExceptionGroup):
            behind += current.exceptions
        waiting += [found for found in behind if isinstance(found, BaseException)]


def _is_of_test(error: BaseException) -> bool:
    outcome = "_pytest.outcomes.OutcomeException"
    return isinstance(error, AssertionError) or outcome in map(full_name, type(error).__mro__)
