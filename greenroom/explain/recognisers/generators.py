"""Asynchronous generators in the place of what they yield: fixtures that nobody handles, dependencies that were called."""

from __future__ import annotations

from types import AsyncGeneratorType
from typing import Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.explanation import Explanation, Fix
from greenroom.diagnosis.frames import Frame, is_users, place_of
from greenroom.explain.failure import Failure
from greenroom.explain.recognisers import calls
from greenroom.explain.registry import recogniser

# What a synchronous generator has: there somebody means the generator.
_MEANT: Final = {"send", "throw", "close"}


@recogniser(
    "AttributeError",
    says=r"^'async_generator' object has no attribute '(\w+)'$",
    section="async-def-tests",
)
def generator_used(failure: Failure) -> Explanation | None:
    """`'async_generator' object has no attribute 'add'`."""
    users, attribute = failure.users, failure.said[1]
    if users is None or not failure.raised_by_user or failure.raised_by_hand or attribute in _MEANT:
        return None
    generator = getattr(failure.error, "obj", None)
    if failure.error is not None and type(generator) is not AsyncGeneratorType:
        return None
    name, call = calls.used(users, failure.message)
    return Explanation(
        "AttributeError: an asynchronous generator was used as if it were what it yields",
        f"{users.quoted} reads `.{attribute}` of {_described(generator, call or name)}, which has not begun to run.",
        "Calling an `async def` that yields only makes a generator. FastAPI enters those of its dependencies, plugins those of "
        "asynchronous fixtures; without a plugin, pytest before 9 gives the test the generator itself.",
        fixes.of_fixture(name, "yield") if _is_fixture(users, name, call) else _of_function(call),
    )


def _is_fixture(users: Frame, name: str, call: str) -> bool:
    """Whether the line has the generator from one of its function's parameters; a pasted test has it from a fixture."""
    if users.code is None:
        return bool(name) and not call and users.function.startswith("test")
    return name in users.code.co_varnames[: users.code.co_argcount + users.code.co_kwonlyargcount]


def _of_function(call: str) -> list[Fix]:
    function = call.partition("(")[0] or "generator"
    return [
        (
            "enter it, as FastAPI does:",
            f"from contextlib import asynccontextmanager\n\nasync with asynccontextmanager({function})(…) as value:\n    …",
        ),
        ("or take what it yields:", f"async for value in {call or 'generator'}:\n    …"),
    ]


def _described(generator: object, written: str) -> str:
    if type(generator) is not AsyncGeneratorType:
        return f"the asynchronous generator `{written}`" if written else "an asynchronous generator"
    code = generator.ag_code
    defined = f" (defined at {place_of(code)})" if is_users(code.co_filename) else ""
    return f"the asynchronous generator `{generator.__name__}()`{defined}"
