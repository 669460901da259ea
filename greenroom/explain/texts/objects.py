"""Errors as objects of JSON: structlog's frames, Sentry's events, and tracebacks as strings or lists of lines in any of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from greenroom.diagnosis.frames import Frame
from greenroom.explain.failure import Failure

_HELD: Final = re.compile(r"Traceback \(most recent call last\)|exc_type|stacktrace|stack_trace|\bFile \"")
_DECODER: Final = json.JSONDecoder()


def decoded(text: str) -> tuple[Any, int] | None:
    """The object or list that a text begins with, and its length; None if it begins with none that may hold an error."""
    if not text.startswith(("{", "[{", '["', "[\n")):
        return None
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return (value, end) if _HELD.search(text, 0, end) else None


def held(value: Any) -> Iterator[str | list[Failure]]:
    """What an object holds: texts to be read, and errors, each with those that it was raised from, the outermost first."""
    match value:
        case str() if _HELD.search(value):
            yield value
        case [{"exc_type": str()}, *_]:
            yield [failure for stack in value for failure in _structlogs(stack)]
        case {"exc_type": str(), "frames": list()}:
            yield list(_structlogs(value))
        case {"values": [{"type": _, "stacktrace": _}, *_] as errors}:
            yield [_sentrys(error) for error in reversed(errors) if isinstance(error, dict)]
        case {"type": str(), "value": _, "stacktrace": dict()}:
            yield [_sentrys(value)]
        case {"type": str() as kind, "message": str() as message, "stack_trace": str() as frames} if (
            "Traceback" not in frames
        ):
            # Elastic's.
            yield f"Traceback (most recent call last):\n{frames.rstrip()}\n{kind}: {message}"
        case [str() as first, *_] if "Traceback (most recent call last)" in first:
            yield "\n".join(line.rstrip("\n") for line in value if isinstance(line, str))
        case dict():
            for each in value.values():
                yield from held(each)
        case list():
            for each in value:
                yield from held(each)


def _structlogs(stack: Any) -> Iterator[Failure]:
    if not isinstance(stack, dict):
        return
    frames = tuple(
        Frame(
            str(frame.get("filename", "")),
            _number(frame.get("lineno")),
            str(frame.get("name", "")),
            text=str(frame.get("line") or ""),
            values=_strings(frame.get("locals")),
        )
        for frame in stack.get("frames") or ()
        if isinstance(frame, dict)
    )
    yield failure_printed(str(stack.get("exc_type")), str(stack.get("exc_value", "")), frames)
    for member in stack.get("exceptions") or ():
        for each in member if isinstance(member, list) else [member]:
            yield from _structlogs(each)


def _sentrys(error: dict[str, Any]) -> Failure:
    stack = error.get("stacktrace")
    frames = stack.get("frames") if isinstance(stack, dict) else None
    module = error.get("module")
    kind = f"{module}.{error.get('type')}" if module and module != "builtins" else str(error.get("type"))
    found = tuple(
        Frame(
            _file(frame),
            _number(frame.get("lineno")),
            str(frame.get("function") or ""),
            text=str(frame.get("context_line") or "").strip(),
            values=_strings(frame.get("vars")),
        )
        for frame in frames or ()
        if isinstance(frame, dict)
    )
    return failure_printed(kind, str(error.get("value") or ""), found)


def _file(frame: dict[str, Any]) -> str:
    file = str(frame.get("abs_path") or frame.get("filename") or "")
    # The tracker knows which frames are the project's.
    library = frame.get("in_app") is False and "site-packages" not in file
    return f"site-packages/{file.lstrip('/')}" if library else file


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _strings(values: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}


def failure_printed(kind: str, message: str, frames: tuple[Frame, ...]) -> Failure:
    """A failure as a text has it.

    Args:
        kind: The name of its class.
        message: Its text.
        frames: What it passed through, the innermost last.
    """
    # SQLAlchemy's own name, the driver's, and the text: (module.Kind) <class 'module.Kind'>: text
    kinds = [
        kind,
        *re.findall(r"^\(([\w.]+)\)", message),
        *re.findall(r"^\([\w.]+\) <class '([\w.]+)'>", message),
    ]
    return Failure(tuple(kinds), message, frames)
