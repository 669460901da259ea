"""Pydantic read an attribute that could not be loaded, and says so in the text of its own error only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from greenroom.explain import fixes
from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Frame, place
from greenroom.explain.orm import Read, identified, read

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_PYDANTIC: Final = "pydantic_core._pydantic_core.ValidationError"
_FASTAPI: Final = "fastapi.exceptions.ResponseValidationError"
_INNER: Final = re.compile(
    r"Error extracting attribute: (?:(MissingGreenlet): greenlet_spawn has not been called"
    r"|StatementError: \(sqlalchemy\.exc\.(MissingGreenlet)\)|(DetachedInstanceError): )"
)
_LINK: Final = "docs/faq.md#response-model"


def hidden_by_pydantic(failure: Failure) -> Explanation | None:
    """`MissingGreenlet` or `DetachedInstanceError`, raised while pydantic read an ORM object for a model of its own."""
    if not failure.of(_PYDANTIC, _FASTAPI) or not (found := _INNER.search(failure.message)):
        return None
    inner = next(filter(None, found.groups()))
    in_response = failure.of(_FASTAPI)
    frame = failure.users if not in_response else None
    where = _endpoint(failure) if in_response else failure.where
    taken = next(_reads(failure, frame), None)
    if taken is None:
        return _unnamed(failure, inner, where)
    reader = "FastAPI, for the response," if in_response else f"`{frame.expression}`" if frame else "pydantic"
    return Explanation(
        f"{failure.kinds[0].rpartition('.')[2]}: pydantic read {taken.name} before it was loaded ({inner})",
        f"{reader} read `{taken.key}` of {identified(taken)}. It is {taken.condition}, so reading it queries the database.",
        "Pydantic reads attributes one by one and cannot await a query. It catches the error and tells of it in a line of its own "
        "report only.",
        _fixes(taken, in_response=in_response),
        _LINK,
        where or failure.where,
    )


def _reads(failure: Failure, frame: Frame | None) -> Iterator[Read]:
    """The attributes that could not be read, of a live exception."""
    errors: Any = getattr(failure.error, "errors", None)
    for item in errors() if callable(errors) else ():
        if item.get("type") != "get_attribute_error" or not _INNER.search(str(item.get("msg"))):
            continue
        instance = item.get("input")
        key = str(item["loc"][-1])
        found = read(instance, key, frame=frame, failure=failure)
        if found is not None:
            yield found


def _fixes(taken: Read, *, in_response: bool) -> list[fixes.Fix]:
    query = fixes.in_the_query(taken)
    if taken.why == "expired":
        return [fixes.keep_after_commit(), fixes.refresh(taken, "load it again before it is read:")]
    words = "load it before it is returned:" if in_response else "load it before it is read:"
    return [query, fixes.refresh(taken, words)]


def _unnamed(failure: Failure, inner: str, where: str) -> Explanation:
    """What a pasted text tells: the field, if that."""
    field = re.search(r"'loc': \([^)]*'(\w+)'\)", failure.message) or re.search(
        r"^\s*([\w.]+)\n\s+Error extracting attribute", failure.message, re.MULTILINE
    )
    name = field[1].rpartition(".")[2] if field else "attribute"
    return Explanation(
        f"{failure.kinds[0].rpartition('.')[2]}: pydantic read an attribute before it was loaded ({inner})",
        f"The field {name!r} is read from an ORM object, where it is not loaded or has expired, so reading it queries the "
        "database.",
        "Pydantic reads attributes one by one and cannot await a query. It catches the error and tells of it in a line of its own "
        "report only.",
        [
            (
                "load it with the query, if it is a relationship:",
                f"select(Model).options(selectinload(Model.{name}))",
            ),
            ("load it before it is read:", f'await session.refresh(instance, attribute_names=["{name}"])'),
        ],
        _LINK,
        where,
    )


def _endpoint(failure: Failure) -> str:
    """Where the endpoint begins whose response could not be made; empty if that is not known."""
    for frame in reversed(failure.frames):
        call = getattr(frame.locals.get("dependant"), "call", None)
        code = getattr(call, "__code__", None)
        if code is not None:
            return place(code.co_filename, code.co_firstlineno)
    found = re.search(r'File "([^"]+)", line (\d+), in ', failure.message)
    return f"{found[1]}:{found[2]}" if found and failure.error is None else ""
