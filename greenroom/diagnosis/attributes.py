"""An attribute of a model that had to be loaded when it was read, and why."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from greenroom.diagnosis.frames import Frame

Why = Literal["relationship", "deferred", "expired", "void"]

_CONDITIONS: Final[dict[Why, str]] = {
    "relationship": "a relationship that was not loaded",
    "deferred": "a column that the query left out",
    "expired": "an attribute that has expired",
    "void": "a value that was not loaded, or that a flush or expire() has made void",
}


UNKNOWN: Final = "Model"
"""What code calls a model whose name is not known."""


class Origin(NamedTuple):
    """Where an instance came from: an assignment in one of the user's functions.

    Attributes:
        where: `file:line`.
        value: The right side of the assignment.
    """

    where: str
    value: str


@dataclass(frozen=True)
class Read:
    """An attribute that was read and had to be loaded.

    Attributes:
        model: The model's name; `UNKNOWN` if it is not known.
        key: The attribute's name; a placeholder if it is not known.
        why: It is a relationship or a column that was not loaded; or its instance has expired, by a commit or a rollback; or it
            alone is void: by a flush or expire(), or as a column of a subclass that was not queried.
        instance: The expression or the name of the instance, such as `connection`; by default a name made of the model's.
        known: The attribute is certain.
        candidates: What it may be, such as `item.owner` and `item.owner.name`, if it is not.
        many: It is a relationship to many.
        awaited: It was read as `await instance.awaitable_attrs.key`, which says that it may be fetched.
        frame: The user's own line; None if it is not known, or runs still.
        state: SQLAlchemy's state of the instance; None if it is not known, or may change.
        origin: Where the instance came from, if the source of the user's functions tells.
    """

    model: str
    key: str
    why: Why
    instance: str = ""
    known: bool = True
    candidates: tuple[str, ...] = ()
    many: bool = False
    awaited: bool = False
    frame: Frame | None = None
    state: Any = None
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """`Model.attribute`."""
        return f"{self.model}.{self.key}"

    @property
    def quoted(self) -> str:
        """The attribute as the line reads it, in a sentence."""
        if self.known:
            return f"`{self.instance}.{self.key}`" if self.instance else f"`{self.key}`"
        if not self.candidates:
            return "an attribute of this line" if self.frame else "an attribute"
        *first, last = [f"`{each}`" for each in self.candidates]
        return f"one of {', '.join(first)} and {last}" if first else f"{last} or another of this statement's"

    @property
    def of(self) -> str:
        """` of Provider(id=3)`, or nothing if the model is not known."""
        return f" of {self.identified}" if self.model != UNKNOWN else ""

    @property
    def condition(self) -> str:
        """What the attribute is, so that reading it takes a query."""
        return _CONDITIONS[self.why]

    @property
    def columns(self) -> list[str]:
        """What refresh() is to load: the attribute, or the columns that a composite one is made of."""
        attribute = self.state.mapper.composites.get(self.key) if self.state is not None else None
        return [self.key] if attribute is None else [part.key for part in attribute.props]

    @property
    def identified(self) -> str:
        """The instance as `Model(id=3)`. Its own repr might read the attribute again."""
        state = self.state
        if state is None or not state.identity:
            return f"a new {self.model}" if state is not None else f"the {self.model}"
        keys = [column.key for column in state.mapper.primary_key]
        values = zip(keys, state.identity, strict=True)
        return f"{self.model}({', '.join(f'{key}={value!r}' for key, value in values)})"

    @property
    def session(self) -> Any:
        """The synchronous session that the instance belongs to, or did: the only one of the user's own function."""
        if self.state is None or self.state.session is not None:
            return self.state and self.state.session
        values = self.frame.locals.values() if self.frame else ()
        sessions = {id(found): found for value in values if (found := synchronous(value)) is not None}
        return next(iter(sessions.values())) if len(sessions) == 1 else None

    @property
    def session_name(self) -> str:
        """What the user's own function calls the session; `session` if it has none."""
        session = self.session
        variables = self.frame.locals.items() if self.frame and session is not None else ()
        return next((name for name, value in variables if synchronous(value) is session), "session")

    @property
    def constructed(self) -> bool:
        """Whether the instance was made by its constructor and flushed, and never loaded since."""
        return self.state is not None and self.state.runid is None

    @property
    def awaitable(self) -> bool:
        """Whether the model has SQLAlchemy's `AsyncAttrs`, which 2.0.13 brought."""
        attributes = getattr(sys.modules.get("sqlalchemy.ext.asyncio"), "AsyncAttrs", ())
        return self.state is not None and issubclass(self.state.class_, attributes)


def why_loaded(state: Any, key: str) -> Why:
    """Why reading an attribute takes a query.

    Args:
        state: SQLAlchemy's state of the instance.
        key: The attribute's name.
    """
    if state.expired:
        return "expired"
    if key in state.expired_attributes:
        return "void"
    return "relationship" if key in state.mapper.relationships else "deferred"


def synchronous(value: Any) -> Any:
    """The synchronous session that a variable is or stands for, or None. By type(): mocks and proxies lie."""
    from sqlalchemy.orm import Session

    if issubclass(type(value), Session):
        return value
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return value.sync_session if module is not None and issubclass(type(value), module.AsyncSession) else None
