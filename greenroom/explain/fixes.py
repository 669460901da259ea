"""Code that helps, written with the user's own names."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom.explain.failure import Frame
    from greenroom.explain.orm import Read

Fix = tuple[str, str]


def awaiting(frame: Frame | None, call: str) -> str:
    """How this line can wait for a call: a synchronous test has greenroom's `run`."""
    code = frame.code if frame else None
    if code is not None and not code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        return (
            f"run({call})"
            if frame and ("run" in frame.locals or frame.function.startswith("test"))
            else f"await {call}"
        )
    return f"await {call}"


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
    call = f'{read.session_name}.refresh({read.owner}, attribute_names=["{read.key}"])'
    return words, awaiting(read.frame, call)


def awaited(read: Read) -> Fix:
    """Await it, which `AsyncAttrs` makes possible."""
    return (
        f"await it ({read.model} has AsyncAttrs):",
        awaiting(read.frame, f"{read.owner}.awaitable_attrs.{read.key}"),
    )


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
