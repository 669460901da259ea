"""Asynchronous generators in the place of what they yield: fixtures that nobody handles, dependencies that were called."""

from __future__ import annotations

import re
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Final

from greenroom.explain import calls
from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Frame, place

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

# What a synchronous generator has: there somebody means the generator.
_MEANT: Final = {"send", "throw", "close"}


def used(failure: Failure) -> Explanation | None:
    """`'async_generator' object has no attribute 'add'`."""
    users = failure.users
    found = re.fullmatch(r"'async_generator' object has no attribute '(\w+)'", failure.message)
    if not failure.of("AttributeError") or not found or users is None or not failure.raised_by_user:
        return None
    generator = getattr(failure.error, "obj", None)
    if failure.error is not None and type(generator) is not AsyncGeneratorType:
        return None
    if found[1] in _MEANT or users.text.startswith("raise"):
        return None
    name, call = calls.used(users, failure.message)
    return Explanation(
        "AttributeError: an asynchronous generator was used as if it were what it yields",
        f"`{users.call}` reads `.{found[1]}` of {_described(generator, call or name)}, which has not begun to run.",
        "Calling an `async def` that yields only makes a generator. FastAPI enters those of its dependencies, plugins those of "
        "asynchronous fixtures; without a plugin, pytest before 9 gives the test the generator itself.",
        _of_fixture(name) if _is_fixture(users, name, call) else _of_function(call),
        "docs/faq.md#async-def-tests",
        users.where,
    )


def _is_fixture(users: Frame, name: str, call: str) -> bool:
    """Whether the line has the generator from one of its function's parameters; a pasted test has it from a fixture."""
    if users.code is None:
        return bool(name) and not call and users.function.startswith("test")
    return name in users.code.co_varnames[: users.code.co_argcount + users.code.co_kwonlyargcount]


def _of_fixture(name: str) -> list[tuple[str, str]]:
    return [
        (
            "make the fixture synchronous, and run what is asynchronous with greenroom's fixture:",
            f"@pytest.fixture\ndef {name}(run, async_session):\n    yield run(…)",
        ),
        (
            "or, for the tests of pytest-asyncio:",
            f"@pytest_asyncio.fixture\nasync def {name}():\n    yield …",
        ),
    ]


def _of_function(call: str) -> list[tuple[str, str]]:
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
    frame = Frame(code.co_filename, code.co_firstlineno, code.co_name, code=code)
    defined = f" (defined at {place(frame.file, frame.line)})" if frame.is_users else ""
    return f"the asynchronous generator `{generator.__name__}()`{defined}"
