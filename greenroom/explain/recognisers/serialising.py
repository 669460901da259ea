"""Pydantic read an attribute that could not be loaded, and says so in the text of its own error only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.attributes import Read
from greenroom.diagnosis.explanation import Explanation
from greenroom.diagnosis.frames import Frame, place_of
from greenroom.explain.failure import Failure
from greenroom.explain.reads import read_of_instance
from greenroom.explain.registry import recogniser

_FASTAPI: Final = "fastapi.exceptions.ResponseValidationError"
_INNER: Final = re.compile(
    r"Error extracting attribute: (?:(MissingGreenlet): greenlet_spawn has not been called"
    r"|StatementError: \(sqlalchemy\.exc\.(MissingGreenlet)\)|(DetachedInstanceError): )"
)
_WHY: Final = (
    "Pydantic reads attributes one by one and cannot await a query. It catches the error and tells of it in a line of its own "
    "report only."
)


@recogniser(
    "pydantic_core._pydantic_core.ValidationError",
    _FASTAPI,
    says=_INNER,
    section="response-model",
    says_where=True,
)
def hidden_by_pydantic(failure: Failure) -> Explanation:
    """`MissingGreenlet` or `DetachedInstanceError`, raised while pydantic read an ORM object for a model of its own."""
    inner = next(filter(None, failure.said.groups()))
    in_response = failure.of(_FASTAPI)
    frame = None if in_response else failure.users
    where = _endpoint(failure) if in_response else failure.where
    read = next(_reads(failure, frame), None)
    if read is None:
        return _unnamed(failure, inner, where)
    reader = "FastAPI, for the response," if in_response else f"`{frame.expression}`" if frame else "pydantic"
    if read.why in {"expired", "void"}:
        words = "load it again before it is read:"
    else:
        words = "load it before it is returned:" if in_response else "load it before it is read:"
    refresh = fixes.refresh(read, words)
    return Explanation(
        f"{failure.kind}: pydantic read {read.name} before it was loaded ({inner})",
        f"{reader} read `{read.key}` of {read.identified}. It is {read.condition}, so reading it queries the database.",
        _WHY,
        [refresh] if read.why == "void" else [fixes.beforehand(read), refresh],
        where=where or failure.where,
    )


def _reads(failure: Failure, frame: Frame | None) -> Iterator[Read]:
    """The attributes that could not be read, of a live exception."""
    errors: Any = getattr(failure.error, "errors", None)
    for item in errors() if callable(errors) else ():
        if item.get("type") == "get_attribute_error" and _INNER.search(str(item.get("msg"))):
            read = read_of_instance(item.get("input"), str(item["loc"][-1]), frame, failure)
            if read is not None:
                yield read


def _unnamed(failure: Failure, inner: str, where: str) -> Explanation:
    """What a pasted text tells: the field, if that."""
    field = re.search(r"'loc': \([^)]*'(\w+)'\)", failure.message) or re.search(
        r"^\s*([\w.]+)\n\s+Error extracting attribute", failure.message, re.MULTILINE
    )
    name = field[1].rpartition(".")[2] if field else "attribute"
    return Explanation(
        f"{failure.kind}: pydantic read an attribute before it was loaded ({inner})",
        f"The field {name!r} is read from an ORM object, where it is not loaded or has expired, so reading it queries the "
        "database.",
        _WHY,
        [
            (
                "load it with the query, if it is a relationship:",
                f"select(Model).options(selectinload(Model.{name}))",
            ),
            ("load it before it is read:", f'await session.refresh(instance, attribute_names=["{name}"])'),
        ],
        where=where,
    )


def _endpoint(failure: Failure) -> str:
    """Where the endpoint begins whose response could not be made; empty if that is not known."""
    for frame in reversed(failure.frames):
        call = getattr(frame.locals.get("dependant"), "call", None)
        code = getattr(call, "__code__", None)
        if code is not None:
            return place_of(code)
    found = re.search(r'File "([^"]+)", line (\d+), in ', failure.message)
    return f"{found[1]}:{found[2]}" if found and failure.error is None else ""
