"""Which attribute a failed line has read, as the frames of SQLAlchemy tell: of which instance, and why it had to be loaded."""

from __future__ import annotations

import re
from typing import Any, Final

from greenroom.diagnosis.attributes import UNKNOWN, Origin, Read, Why, why_loaded
from greenroom.diagnosis.frames import Frame, place
from greenroom.explain import source, written
from greenroom.explain.failure import Failure

_ATTRIBUTES: Final = "sqlalchemy/orm/attributes.py"
_STRATEGIES: Final = "sqlalchemy/orm/strategies.py"
_LOADING: Final = "sqlalchemy/orm/loading.py"
_LAYERS: Final = (_ATTRIBUTES, "sqlalchemy/ext/associationproxy.py", "sqlalchemy/ext/hybrid.py")
"""What stands between a line that reads an attribute and the attribute."""


def reads_attribute(failure: Failure) -> bool:
    """Whether the user's own line reads a mapped attribute, and does not call a function of SQLAlchemy."""
    first = next((frame for frame in failure.after_users if frame.of_sqlalchemy), None)
    return first is not None and first.within(*_LAYERS)


def failed_read(failure: Failure) -> Read | None:
    """The attribute that the user's own line read, or None if it did something else."""
    frames = failure.after_users if reads_attribute(failure) else ()
    access = next(
        (frame for frame in frames if frame.within(_ATTRIBUTES) and frame.function == "__get__"), None
    )
    why = _why(frames)
    if access is None or why is None:
        return None
    if "instance" not in access.locals:
        return _pasted(failure, why)
    return read_of_instance(access.locals["instance"], access.locals["self"].key, failure.users, failure, why)


def read_of_instance(
    instance: Any, key: str, frame: Frame | None, failure: Failure, why: Why | None = None
) -> Read | None:
    """An attribute of an instance that could not be loaded.

    Args:
        instance: The instance of a mapped class.
        key: The attribute.
        frame: The user's own line.
        failure: Whose frames may tell where the instance came from.
        why: Why a query was needed, as the frames tell.

    Returns:
        What is known about it, or None if that is not a mapped attribute.
    """
    import sqlalchemy

    state: Any = sqlalchemy.inspect(instance, raiseerr=False)
    if state is None or not hasattr(state, "mapper") or key not in state.mapper.attrs:
        return None
    relationship = state.mapper.relationships.get(key)
    of_state = why_loaded(state, key)
    if why is None or of_state in {"expired", "void"}:
        why = of_state
    elif why == "expired":
        # Its frames are those of an instance that has expired; but this one has not.
        why = "void"
    return Read(
        model=type(instance).__name__,
        key=key,
        why=why,
        instance=_name(frame, instance, key),
        many=bool(relationship is not None and relationship.uselist),
        frame=frame,
        state=state,
        origin=origin_of(failure, instance),
    )


def origin_of(failure: Failure, instance: Any) -> Origin | None:
    """Where an instance, or the list it is in, was assigned in the user's functions that the traceback shows."""
    for frame in reversed(failure.frames):
        if not frame.is_users or frame.code is None:
            continue
        name = _bound(frame, instance)
        found = source.assigned(frame.code, name, frame.number) if name else None
        # `for provider in providers:`: what matters is where those came from.
        while found and found.value.isidentifier() and found.value not in {name, "None", "True", "False"}:
            name = found.value
            found = source.assigned(frame.code, name, found.line) or found
            if found.value == name:
                break
        if found and found.value and not found.parameter:
            return Origin(place(frame.file, found.line), found.value)
    return None


def _why(frames: tuple[Frame, ...]) -> Why | None:
    """Why the outermost of the attributes that were read here had to be loaded."""
    for number, frame in enumerate(frames, start=1):
        loader = frame.locals.get("self")
        if frame.within("sqlalchemy/orm/state.py") and frame.function == "_load_expired":
            return "expired"
        if frame.within(_STRATEGIES) and frame.function == "_load_for_state":
            inner = frames[number] if number < len(frames) else None
            if "DeferredColumnLoader" in type(loader).__name__:
                return "deferred"
            if loader is None and (inner is None or not inner.within(_STRATEGIES, _LOADING)):
                # A text without the frame that tells.
                return None
            return "deferred" if inner is not None and inner.within(_LOADING) else "relationship"
        if frame.within(_STRATEGIES) and frame.function == "__call__" and "raiseload" in dir(loader):
            return "deferred"
    return None


def _pasted(failure: Failure, why: Why) -> Read:
    """What a text tells: which attribute, if it decides that."""
    model, key, instance = written.printed(failure)
    read, all_of_them = written.candidates(failure)
    if key:
        read = tuple(each for each in read if each.endswith(f".{key}"))
    model = model or UNKNOWN
    if len(read) == 1 and (all_of_them or key):
        instance, _, name = read[0].rpartition(".")
        return Read(model, name, why, instance=instance, frame=failure.users)
    if key:
        return Read(model, key, why, instance=instance, frame=failure.users)
    return Read(
        model, "attribute", why, instance="instance", known=False, candidates=read, frame=failure.users
    )


def _name(frame: Frame | None, instance: Any, key: str) -> str:
    """What the line calls the instance."""
    if frame is None:
        return "instance"
    expression = frame.expression.removesuffix(f".{key}")
    if expression != frame.expression and re.fullmatch(r"[\w.]+", expression):
        return expression
    return next((name for name, value in _variables(frame) if value is instance), "instance")


def _variables(frame: Frame) -> list[tuple[str, Any]]:
    """Those that the user has written: neither pytest's, of a rewritten `assert`, nor the interpreter's."""
    return [(name, value) for name, value in frame.locals.items() if name.isidentifier()]


def _bound(frame: Frame, instance: Any) -> str:
    """The variable of a frame that is the instance, or a list with it in; empty if there is none."""
    for name, value in _variables(frame):
        if value is instance and name != "self":
            return name
    for name, value in _variables(frame):
        if type(value) in {list, tuple} and any(member is instance for member in value):
            return name
    return ""
