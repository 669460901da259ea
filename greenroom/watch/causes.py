"""What led to a query: the user's own lines, and the attribute of a model that is being read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from sqlalchemy.orm import attributes

from greenroom.diagnosis.attributes import Read, why_loaded
from greenroom.diagnosis.frames import Line, is_users, line_of
from greenroom.private.sqlalchemy import flush_of

_FILE: Final = attributes.__file__
_ACCESS: Final = frozenset({"__get__", "__set__"})
_EAGER: Final = ("SelectInLoader.", "_SelectInLoader.", "SubqueryLoader.", "_SubqueryLoader.")

NO_LINE: Final = "no line of the project's own: where a response is made of the model"


@dataclass(frozen=True, slots=True)
class Cause:
    """What led to a query.

    Attributes:
        lines: The lines of the user's own code that led to it, the innermost first; none in a response model.
        read: The attribute that is read there, if that is why there is a query.
        eager: The query belongs to another one, which loads its related objects in batches.
        flush: The number of the flush that sends it; None if none does.
    """

    lines: tuple[Line, ...]
    read: Read | None
    eager: bool
    flush: int | None = None

    @property
    def line(self) -> Line | None:
        """The innermost of the lines."""
        return self.lines[0] if self.lines else None


def cause_of(frames: Iterable[FrameType]) -> Cause:
    """What led to the query that is being sent.

    Args:
        frames: The frames of what runs, the innermost first.
    """
    lines: list[Line] = []
    access, eager, flush = None, False, None
    for frame in frames:
        code = frame.f_code
        if is_users(code.co_filename):
            lines.append(line_of(frame))
        elif lines:
            continue
        # The outermost of those: a proxy reads an attribute to read another one.
        elif code.co_filename == _FILE and code.co_name in _ACCESS:
            access = frame
        elif code.co_qualname.startswith(_EAGER):
            eager = True
        else:
            flush = flush or flush_of(frame)
    return Cause(tuple(lines), _read(access) if access else None, eager, flush)


def _read(access: FrameType) -> Read | None:
    instance: Any = access.f_locals.get("instance")
    attribute: Any = access.f_locals.get("self")
    if instance is None or attribute is None:
        return None
    state: Any = attributes.instance_state(instance)
    # One that has expired is still loaded best with the query.
    relationship = attribute.key in state.mapper.relationships
    return Read(
        model=type(instance).__name__,
        key=attribute.key,
        why="relationship" if relationship else why_loaded(state, attribute.key),
        # `awaitable_attrs` starts a greenlet with getattr() and nothing else.
        awaited=access.f_back is None,
    )
