"""What the frames of a failed attribute access tell about it: the instance, the attribute, and why a query was needed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from greenroom.explain import source

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure, Frame

Why = Literal["expired", "deferred", "relationship"]

_ATTRIBUTES: Final = "sqlalchemy/orm/attributes.py"
_STRATEGIES: Final = "sqlalchemy/orm/strategies.py"
_STATE: Final = "sqlalchemy/orm/state.py"
_LAYERS: Final = (_ATTRIBUTES, "sqlalchemy/ext/associationproxy.py", "sqlalchemy/ext/hybrid.py")
"""What stands between a line that reads an attribute and the attribute."""


@dataclass(frozen=True)
class Read:
    """An attribute that was read and had to be loaded.

    Attributes:
        frame: The user's own line, or None if the traceback has none.
        why: It had expired, is a deferred column, or a relationship that is not loaded.
        owner: The expression or the name of the instance, such as `connection`.
        model: The model's name; a placeholder if it is a pasted traceback.
        key: The attribute's name.
        known: The model and the attribute are certain.
        many: It is a relationship to many.
        state: SQLAlchemy's state of the instance; None if it is a pasted traceback.
        origin: Where the instance came from, if the source of the user's functions tells.
    """

    frame: Frame | None
    why: Why
    owner: str
    model: str
    key: str
    known: bool = True
    many: bool = False
    state: Any = None
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """`Model.attribute`."""
        return f"{self.model}.{self.key}"

    @property
    def columns(self) -> list[str]:
        """What refresh() is to load: the attribute, or the columns that a composite one is made of."""
        attribute = self.state.mapper.composites.get(self.key) if self.state is not None else None
        return [self.key] if attribute is None else [part.key for part in attribute.props]

    @property
    def condition(self) -> str:
        """What the attribute is, so that reading it takes a query."""
        return {
            "relationship": "a relationship that is not loaded",
            "deferred": "a column that the query left out",
            "expired": "expired",
        }[self.why]

    @property
    def session(self) -> Any:
        """The synchronous session that the instance belongs to, or did: the only one of the user's own function."""
        if self.state is None or self.state.session is not None:
            return self.state and self.state.session
        sessions = {id(session): session for session in sessions_of(self.frame)}
        return next(iter(sessions.values())) if len(sessions) == 1 else None

    @property
    def session_name(self) -> str:
        """What the user's own function calls the session; `session` if it has none."""
        return _session_name(self.frame, self.session)

    @property
    def constructed(self) -> bool:
        """Whether the instance was made by its constructor and flushed, and never loaded since."""
        return self.state is not None and self.state.runid is None

    @property
    def awaitable(self) -> bool:
        """Whether the model has SQLAlchemy's `AsyncAttrs`."""
        module = sys.modules.get("sqlalchemy.ext.asyncio")
        return (
            self.state is not None and module is not None and issubclass(self.state.class_, module.AsyncAttrs)
        )


@dataclass(frozen=True)
class Origin:
    """Where an instance came from: an assignment in one of the user's functions.

    Attributes:
        where: `file:line`.
        value: The right side of the assignment.
    """

    where: str
    value: str


def read_of(failure: Failure) -> Read | None:
    """The attribute that the user's own line read, or None if it did something else."""
    if not reads_attribute(failure):
        return None
    ours = failure.after_users
    access = next(
        (frame for frame in ours if frame.within(_ATTRIBUTES) and frame.function == "__get__"), None
    )
    if access is None:
        return None
    why = _why(ours)
    if why is None:
        return None
    frame = failure.users
    if "instance" not in access.locals:
        return _pasted(frame, why)
    instance, attribute = access.locals["instance"], access.locals["self"]
    return read(instance, attribute.key, frame=frame, why=why, failure=failure)


def reads_attribute(failure: Failure) -> bool:
    """Whether the user's own line reads a mapped attribute, and does not call a function of SQLAlchemy."""
    first = next((frame for frame in failure.after_users if frame.of_sqlalchemy), None)
    return first is not None and first.within(*_LAYERS)


def read(
    instance: Any, key: str, *, frame: Frame | None, failure: Failure, why: Why | None = None
) -> Read | None:
    """An attribute of an instance that could not be loaded.

    Args:
        instance: The instance of a mapped class.
        key: The attribute.
        frame: The user's own line.
        failure: Whose frames may tell where the instance came from.
        why: Why a query was needed; by default that is taken from the instance's state.

    Returns:
        What is known about it, or None if that is not a mapped attribute.
    """
    import sqlalchemy

    state: Any = sqlalchemy.inspect(instance, raiseerr=False)
    if state is None or not hasattr(state, "mapper") or key not in state.mapper.attrs:
        return None
    relationship = key in state.mapper.relationships
    if why is None or state.expired or key in state.expired_attributes:
        expired = state.expired or key in state.expired_attributes
        why = "expired" if expired else "relationship" if relationship else "deferred"
    return Read(
        frame=frame,
        why=why,
        owner=_owner(frame, instance, key),
        model=type(instance).__name__,
        key=key,
        many=bool(relationship and state.mapper.relationships[key].uselist),
        state=state,
        origin=origin_of(failure, instance),
    )


def origin_of(failure: Failure, instance: Any) -> Origin | None:
    """Where an instance, or the list it is in, was assigned in the user's functions that the traceback shows."""
    for frame in reversed(failure.frames):
        if not frame.is_users or frame.code is None:
            continue
        name = _bound(frame, instance)
        found = source.assigned(frame.code, name, frame.line) if name else None
        # `for provider in providers:`: what matters is where those came from.
        while found and found.value.isidentifier() and found.value not in {name, "None", "True", "False"}:
            name = found.value
            found = source.assigned(frame.code, name, found.line) or found
            if found.value == name:
                break
        if found and found.value and not found.parameter:
            return Origin(frame.where.rpartition(":")[0] + f":{found.line}", found.value)
    return None


def identified(read: Read) -> str:
    """The instance as `Model(id=3)`. Its own repr might read the attribute again."""
    state = read.state
    if state is None or not state.identity:
        return f"a new {read.model}" if state is not None else f"the {read.model}"
    keys = [column.key for column in state.mapper.primary_key]
    return f"{read.model}({', '.join(f'{key}={value!r}' for key, value in zip(keys, state.identity, strict=True))})"


def sessions_of(frame: Frame | None) -> Iterator[Any]:
    """The synchronous sessions among a function's variables, also those behind an `AsyncSession`."""
    for value in tuple(frame.locals.values()) if frame else ():
        session = synchronous(value)
        if session is not None:
            yield session


def synchronous(value: Any) -> Any:
    """The synchronous session that a variable is or stands for, or None. By type(): mocks and proxies lie."""
    from sqlalchemy.orm import Session

    if issubclass(type(value), Session):
        return value
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return value.sync_session if module is not None and issubclass(type(value), module.AsyncSession) else None


def _why(frames: tuple[Frame, ...]) -> Why | None:
    """Why the outermost of the attributes that were read here had to be loaded."""
    for frame in frames:
        if frame.within(_STATE) and frame.function == "_load_expired":
            return "expired"
        if frame.within(_STRATEGIES) and frame.function == "_load_for_state":
            following = frames[frames.index(frame) + 1 :]
            if any(other.within("sqlalchemy/orm/loading.py") for other in following[:1]):
                return "deferred"
            return (
                "deferred"
                if "DeferredColumnLoader" in type(frame.locals.get("self")).__name__
                else "relationship"
            )
        if (
            frame.within(_STRATEGIES)
            and frame.function == "__call__"
            and "raiseload" in dir(frame.locals.get("self"))
        ):
            return "deferred"
    return None


def _pasted(frame: Frame | None, why: Why) -> Read:
    """What the text of a line tells: which attribute, if it reads one only."""
    text = frame.call if frame else ""
    reads = re.findall(r"(?<![\w.])([a-z_]\w*(?:\.\w+)*)\.([A-Za-z_]\w*)(?!\w*\s*\()", text)
    owner, key = reads[0] if len(reads) == 1 else ("instance", "attribute")
    return Read(frame=frame, why=why, owner=owner, model="Model", key=key, known=len(reads) == 1)


def _owner(frame: Frame | None, instance: Any, key: str) -> str:
    if frame is None:
        return "instance"
    expression = frame.expression.removesuffix(f".{key}")
    if expression != frame.expression and re.fullmatch(r"[\w.]+", expression):
        return expression
    for name, value in frame.locals.items():
        if value is instance:
            return name
    return "instance"


def _bound(frame: Frame, instance: Any) -> str:
    """The variable of a frame that is the instance, or a list with it in; empty if there is none."""
    for name, value in frame.locals.items():
        if value is instance and name != "self":
            return name
    for name, value in frame.locals.items():
        if type(value) in {list, tuple} and any(member is instance for member in value):
            return name
    return ""


def _session_name(frame: Frame | None, session: Any) -> str:
    if frame is not None and session is not None:
        for name, value in frame.locals.items():
            if synchronous(value) is session:
                return name
    return "session"
