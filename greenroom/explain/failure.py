"""A failure in the form that it is recognised in: what was raised, and the frames that it passed through.

A live exception and a pasted traceback both come in this form. A pasted one has no objects: its frames have no locals and
its `error` is None.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from greenroom.diagnosis.exceptions import chain, full_name
from greenroom.diagnosis.frames import Frame
from greenroom.explain import source

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """One exception of a chain.

    Attributes:
        kinds: The full names of the exception's class and its bases; of a pasted one only the printed name.
        message: Its text.
        frames: What it passed through, the innermost last.
        error: The exception itself; None if it is a pasted one.
        behind: The names of the classes of those behind it: what it was raised from, or in spite of.
        wrapping: How many of a pasted one's first frames are those of the outermost exception of its chain.
        loop: The event loop that it was seen on, if somebody has noted that.
        said: The match of the recogniser's pattern in the message.
    """

    kinds: tuple[str, ...]
    message: str
    frames: tuple[Frame, ...]
    error: BaseException | None = field(default=None, repr=False)
    behind: tuple[str, ...] = ()
    wrapping: int = 0
    loop: Any = field(default=None, repr=False)
    said: Any = None

    def of(self, *kinds: str) -> bool:
        """Whether it is of one of these classes, each by its full name, built-in ones without a module.

        Many forms of text have the name only.
        """
        if not set(kinds).isdisjoint(self.kinds):
            return True
        return self.error is None and not {kind.rpartition(".")[2] for kind in kinds}.isdisjoint(self.kinds)

    @property
    def kind(self) -> str:
        """The name of its class, without the module."""
        return self.kinds[0].rpartition(".")[2]

    @property
    def users(self) -> Frame | None:
        """The user's own line: the innermost frame that is neither a library's, nor Python's, nor greenroom's."""
        return next((frame for frame in reversed(self.frames) if frame.is_users), None)

    @property
    def raised_by_user(self) -> bool:
        """Whether the user's own code raised it, and not a library."""
        return bool(self.frames) and self.frames[-1].is_users

    @property
    def raised_by_hand(self) -> bool:
        """Whether the user's own line says `raise`, with a text that is like one of Python's or of a library."""
        return self.users is not None and self.users.text.startswith("raise")

    @property
    def where(self) -> str:
        """The user's own line, `file:line`; empty if unknown."""
        return self.users.where if self.users else ""

    @property
    def quoted(self) -> str:
        """What the user's own line did, as code in a sentence; words if that is unknown."""
        return self.users.quoted if self.users else "the code"

    @property
    def after_users(self) -> tuple[Frame, ...]:
        """The frames of libraries that the user's own line led into."""
        users = self.users
        return self.frames if users is None else self.frames[self.frames.index(users) + 1 :]

    @property
    def in_sqlalchemy(self) -> bool:
        """Whether SQLAlchemy has raised it or passed it on. A mock raises the same, and a pasted text may have no frames."""
        if any(frame.of_sqlalchemy for frame in self.frames):
            return True
        return self.error is None and not self.raised_by_hand

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


def failure_of(error: BaseException) -> Failure:
    """One live exception, without those that it was raised from."""
    frames = []
    entry = error.__traceback__
    while entry is not None:
        frame, code = entry.tb_frame, entry.tb_frame.f_code
        frames.append(
            Frame(
                file=code.co_filename,
                number=entry.tb_lineno,
                function=code.co_name,
                text=linecache.getline(code.co_filename, entry.tb_lineno).strip(),
                expression=source.expression(entry),
                locals=frame.f_locals,
                globals=frame.f_globals,
                code=code,
            )
        )
        entry = entry.tb_next
    return Failure(
        tuple(map(full_name, type(error).__mro__)),
        str(error),
        tuple(frames),
        error,
        tuple(full_name(type(each)) for each in chain(error, expected=False) if each is not error),
    )
