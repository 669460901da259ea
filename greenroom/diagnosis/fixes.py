"""Code that helps, written with the user's own names."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Final

from greenroom.diagnosis.attributes import UNKNOWN

if TYPE_CHECKING:
    from greenroom.diagnosis.attributes import Read
    from greenroom.diagnosis.explanation import Fix
    from greenroom.diagnosis.frames import Frame

KEEP_AFTER_COMMIT: Final = (
    "have commit() keep what is loaded, as is usual for asynchronous sessions:",
    "async_sessionmaker(engine, expire_on_commit=False)",
)
NO_POOL: Final = (
    "or give the other loop's code an engine that keeps no connection:",
    "create_async_engine(url, poolclass=NullPool)",
)
BLOCK: Final = "async with new_session() as session:\n    …"


def cannot_await(frame: Frame | None) -> bool:
    """Whether the line is of a plain function: a property, a method of a model, a test. A generator expression is not one."""
    code = frame.code if frame else None
    return (
        code is not None
        and not code.co_name.startswith("<")
        and not code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
    )


def on_greenrooms_loop(call: str = "coroutine") -> Fix:
    """Run a coroutine where the application runs."""
    return "run it on the application's one loop, with greenroom's fixture:", f"run({call})"


def beforehand(read: Read) -> Fix:
    """Spare this query, once and for all instances."""
    if read.why == "expired":
        return KEEP_AFTER_COMMIT
    return refresh(read) if read.why == "void" else in_the_query(read)


def in_the_query(read: Read, words: str = "load it with the query that loads the instance") -> Fix:
    """Load it with the query that loads the instance."""
    loader = "undefer" if read.why == "deferred" else "selectinload"
    option = f"{loader}({read.name})"
    code = f"select({read.model}).options({option})"
    origin = read.origin
    if origin and f"select({read.model})" in origin.value:
        words = f"load it with the query, at {origin.where}"
        code = origin.value.replace(f"select({read.model})", code, 1)
    elif origin and (
        got := re.fullmatch(
            rf"((?:await |run\()\w+(?:\.\w+)*\.get(?:_one)?\({read.model}, [^()]*)(\)+)", origin.value
        )
    ):
        words = f"load it with the query, at {origin.where}"
        code = f"{got[1]}, options=[{option}]{got[2]}"
    return f"{words}{_stand_for(read)}:", f"from sqlalchemy.orm import {loader}\n\n{code}"


def refresh(read: Read, words: str = "load it before it is read:") -> Fix:
    """Load it at this place."""
    names = ", ".join(f'"{key}"' for key in read.columns)
    return _awaiting(
        read, words, f"{read.session_name}.refresh({_instance(read)}, attribute_names=[{names}])"
    )


def awaited(read: Read) -> Fix:
    """Await it, which `AsyncAttrs` makes possible."""
    words = f"await it ({read.model} has AsyncAttrs):"
    return _awaiting(read, words, f"{_instance(read)}.awaitable_attrs.{read.key}")


def at_construction(read: Read) -> Fix:
    """Say in the constructor that there is nothing to load."""
    empty = "[]" if read.many else "None"
    return (
        "if a new one has none yet, say so where it is made; then there is nothing to load:",
        f"{read.model}(…, {read.key}={empty})",
    )


def of_fixture(name: str, ends: str) -> list[Fix]:
    """Have an asynchronous fixture run.

    Args:
        name: Its name.
        ends: `return` or `yield`.
    """
    return [
        (
            "make the fixture synchronous, and run what is asynchronous with greenroom's fixture:",
            f"@pytest.fixture\ndef {name}(run, async_session):\n    {ends} run(…)",
        ),
        (
            "or, for the tests of pytest-asyncio:",
            f"@pytest_asyncio.fixture\nasync def {name}():\n    {ends} …",
        ),
    ]


def _stand_for(read: Read) -> str:
    """Which names of the code are not known."""
    if read.known:
        return " (Model stands for its class)" if read.model == UNKNOWN else ""
    return " (Model and attribute stand for your names)" if read.model == UNKNOWN else ""


def _awaiting(read: Read, words: str, call: str) -> Fix:
    """How this line can wait for a call; a synchronous test has greenroom's `run`, and another plain function has nothing."""
    frame = read.frame
    if frame is None or not cannot_await(frame):
        return words, f"await {call}"
    if "run" in frame.locals or frame.function.startswith("test"):
        return words, f"run({call})"
    return f"load it before {frame.function}() is called, which cannot await:", f"await {call}"


def _instance(read: Read) -> str:
    """The instance, by a name that is right also where the method is called that reads the attribute of its `self`."""
    if read.instance not in {"", "self"}:
        return read.instance
    return read.model.lower() if read.model != UNKNOWN else "instance"
