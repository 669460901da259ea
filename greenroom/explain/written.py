"""Which attribute a line has read, as far as its text tells: what a pasted traceback has instead of objects."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from greenroom.diagnosis.frames import Frame
from greenroom.explain import source
from greenroom.explain.failure import Failure

_CHAIN: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+\b(?!\s*\()")
_OBJECT: Final = re.compile(r"^<(?:[\w.]+\.)?([A-Za-z_]\w*) object at 0x[0-9a-f]+>")
_STRING: Final = re.compile(r"^'([A-Za-z_]\w*)'$")
_ATTRIBUTES: Final = "sqlalchemy/orm/attributes.py"


def candidates(failure: Failure) -> tuple[tuple[str, ...], bool]:
    """The attributes that the user's own line may have read, such as `item.owner`, and whether it is certain that they are all.

    Args:
        failure: A pasted one. Its line has marks if Python has printed them; where Python prints marks, a line without them
            failed as a whole.
    """
    frame = failure.users
    if frame is None:
        return (), False
    if frame.expression:
        return _read_last(frame.expression) or _read_within(frame.expression), True
    whole = _read_last(frame.text)
    if whole and any(each.expression for each in failure.frames):
        return whole, True
    # One that goes on below may read more there.
    return _read_within(frame.text), source.statement(frame.text) is not None


def printed(failure: Failure) -> tuple[str, str, str]:
    """The model, the attribute, and what the line calls the instance, as printed variables tell; each empty if they do not."""
    if sum(frame.within(_ATTRIBUTES) and frame.function == "__get__" for frame in failure.after_users) > 1:
        # An outer attribute reads another one.
        return "", "", ""
    frames = [frame for frame in failure.after_users if frame.within(_ATTRIBUTES)]
    values = {name: value for frame in reversed(frames) for name, value in frame.values.items()}
    own = failure.users.values if failure.users else {}
    key = _STRING.match(values.get("key", ""))
    instance = values.get("instance", "")
    model = _OBJECT.match(instance)
    names = [name for name, value in own.items() if model and value == instance]
    if key and not names:
        # loguru prints the variables of a line only: that of which the attribute is read.
        names = [
            read.partition(".")[0]
            for read in _read_within(failure.users.text if failure.users else "")
            if read.endswith(f".{key[1]}") and read.count(".") == 1
        ]
        model = model or (_OBJECT.match(own.get(names[0], "")) if names else None)
    return model[1] if model else "", key[1] if key else "", names[0] if len(names) == 1 else ""


def _read_last(text: str) -> tuple[str, ...]:
    """The attribute that an expression reads at its end, if that is what it does."""
    node = source.statement(text)
    match node:
        case ast.Expr(value=ast.Attribute() as read) if not isinstance(read.value, ast.Call):
            return (ast.unparse(read),)
        case ast.Expr(
            value=ast.Call(
                func=ast.Name(id="getattr"), args=[ast.Name() as of, ast.Constant(value=str(key)), *_]
            )
        ):
            return (f"{of.id}.{key}",)
    return ()


def _read_within(text: str) -> tuple[str, ...]:
    """All attributes that a line or an expression reads, the inner ones first."""
    node = source.statement(text)
    found = list(_attributes(node)) if node is not None else list(_chains(text))
    return tuple(dict.fromkeys(found))


def _attributes(node: ast.AST) -> Iterator[str]:
    called = {id(each.func) for each in ast.walk(node) if isinstance(each, ast.Call)}
    reads = [
        each
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Load) and id(each) not in called
    ]
    for read in sorted(reads, key=lambda each: (each.lineno, each.end_col_offset or 0)):
        if not any(isinstance(each, ast.Call) for each in ast.walk(read)):
            yield ast.unparse(read)


def _chains(text: str) -> Iterator[str]:
    """The same, of a line that goes on below or is not Python."""
    for chain in _CHAIN.findall(text):
        parts = chain.split(".")
        yield from (".".join(parts[:end]) for end in range(2, len(parts) + 1))


def calls(frame: Frame, function: str) -> bool:
    """Whether a line may have called a function: by its name, or by Python itself."""
    return function.startswith("__") or re.search(rf"\b{re.escape(function)}\b", frame.call) is not None
