"""Which attribute of a model is being read, as far as the frames of a query tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from sqlalchemy.orm import attributes

from greenroom.watch.frames import Line, is_users, line_of

_FILE: Final = attributes.__file__
_ACCESS: Final = frozenset({"__get__", "__set__"})
_EAGER: Final = ("SelectInLoader.", "_SelectInLoader.", "SubqueryLoader.", "_SubqueryLoader.")


@dataclass(frozen=True, slots=True)
class Read:
    """An attribute whose value has to be fetched.

    Attributes:
        model: The name of the instance's class.
        key: The attribute's name.
        relationship: It is a relationship, and not a column.
        expired: Its instance has expired, by a commit or a rollback.
        void: It alone was not loaded, such as a subclass's column, or was made void by a flush or by expire().
        awaited: It was read as `await instance.awaitable_attrs.key`, which says that it may be fetched.
    """

    model: str
    key: str
    relationship: bool
    expired: bool
    void: bool
    awaited: bool

    @property
    def name(self) -> str:
        """`Model.attribute`."""
        return f"{self.model}.{self.key}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a query comes from.

    Attributes:
        lines: The lines of the user's own code that led to it, the innermost first; none in a response model.
        read: The attribute that is read there, if that is why there is a query.
        eager: The query belongs to another one, which loads its related objects in batches.
    """

    lines: tuple[Line, ...]
    read: Read | None
    eager: bool

    @property
    def line(self) -> Line | None:
        """The innermost of the lines."""
        return self.lines[0] if self.lines else None


def origin(frames: Iterable[FrameType]) -> Origin:
    """Where a query comes from.

    Args:
        frames: The frames of what runs, the innermost first.
    """
    lines: list[Line] = []
    access, eager = None, False
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
    return Origin(tuple(lines), _read(access) if access else None, eager)


def _read(access: FrameType) -> Read | None:
    instance: Any = access.f_locals.get("instance")
    attribute: Any = access.f_locals.get("self")
    if instance is None or attribute is None:
        return None
    state: Any = attributes.instance_state(instance)
    relationship = state.mapper.relationships.get(attribute.key)
    return Read(
        model=type(instance).__name__,
        key=attribute.key,
        relationship=relationship is not None,
        expired=bool(state.expired),
        void=not state.expired and attribute.key in state.expired_attributes,
        # `awaitable_attrs` starts a greenlet with getattr() and nothing else.
        awaited=access.f_back is None,
    )
