"""Code that helps, written with the user's own names."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom.explain.failure import Frame
    from greenroom.explain.orm import Read

Fix = tuple[str, str]


def cannot_await(frame: Frame | None) -> bool:
    """Whether the line is of a plain function: a property, a method of a model, a test. A generator expression is not one."""
    code = frame.code if frame else None
    return (
        code is not None
        and not code.co_name.startswith("<")
        and not code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
    )


def awaiting(read: Read, words: str, call: str) -> Fix:
    """How this line can wait for a call; a synchronous test has greenroom's `run`, and another plain function has nothing."""
    if not cannot_await(read.frame):
        return words, f"await {call}"
    if read.frame and ("run" in read.frame.locals or read.frame.function.startswith("test")):
        return words, f"run({call})"
    return (
        f"load it before {read.frame.function if read.frame else 'this'}() is called, which cannot await:",
        f"await {call}",
    )


def in_the_query(read: Read) -> Fix:
    """Load it with the query that loads the instance."""
    loader = "undefer" if read.why == "deferred" else "selectinload"
    option = f"{loader}({read.name})"
    code = f"select({read.model}).options({option})"
    imported = f"from sqlalchemy.orm import {loader}\n\n"
    origin = read.origin
    if origin and f"select({read.model})" in origin.value:
        return f"load it with the query, at {origin.where}:", imported + origin.value.replace(
            f"select({read.model})", code, 1
        )
    got = origin and re.fullmatch(
        rf"((?:await |run\()\w+(?:\.\w+)*\.get(?:_one)?\({read.model}, [^()]*)(\)+)", origin.value
    )
    if origin and got:
        return (
            f"load it with the query, at {origin.where}:",
            f"{imported}{got[1]}, options=[{option}]{got[2]}",
        )
    return "load it with the query that loads the instance:", imported + code


def refresh(read: Read, words: str = "load it before it is read:") -> Fix:
    """Load it at this place."""
    names = ", ".join(f'"{key}"' for key in read.columns)
    return awaiting(read, words, f"{read.session_name}.refresh({_owner(read)}, attribute_names=[{names}])")


def awaited(read: Read) -> Fix:
    """Await it, which `AsyncAttrs` makes possible."""
    words = f"await it ({read.model} has AsyncAttrs):"
    return awaiting(read, words, f"{_owner(read)}.awaitable_attrs.{read.key}")


def _owner(read: Read) -> str:
    """The instance, by a name that is right also where the method is called that reads the attribute of its `self`."""
    return read.model.lower() if read.owner == "self" else read.owner


def at_construction(read: Read) -> Fix:
    """Say in the constructor that there is nothing to load."""
    empty = "[]" if read.many else "None"
    return (
        "if a new one has none yet, say so where it is made; then there is nothing to load:",
        f"{read.model}(…, {read.key}={empty})",
    )


def keep_after_commit() -> Fix:
    """Make commit() leave the attributes as they are."""
    return (
        "have commit() keep what is loaded, as is usual for asynchronous sessions:",
        "async_sessionmaker(engine, expire_on_commit=False)",
    )
