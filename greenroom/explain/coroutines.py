"""Coroutines that nobody awaits, and asynchronous tests and fixtures that nobody runs."""

from __future__ import annotations

import inspect
import re
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Any, Final

from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Frame, place

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_DRIVERS: Final = re.compile(r"connect|(?:Async)?Connection\.\w+|Pool\.\w+")
_FAILED: Final = ("_pytest.outcomes.Failed", "Failed")
_TYPE_ERRORS: Final = re.compile(
    r"'coroutine' object is not (?:subscriptable|iterable|an iterator)"
    r"|object of type 'coroutine' has no len\(\)"
    r"|(?:cannot unpack non-iterable coroutine object)"
    r"|'coroutine' object does not support (?:the (?:asynchronous )?context manager protocol|item assignment)"
)


def used_unawaited(failure: Failure) -> Explanation | None:
    """A coroutine was used as if it were its result: `'coroutine' object has no attribute 'status_code'`."""
    users = failure.users
    if failure.of("AttributeError") and (
        found := re.fullmatch(r"'coroutine' object has no attribute '(\w+)'", failure.message)
    ):
        coroutine = getattr(failure.error, "obj", None)
        use = f"reads `.{found[1]}` of"
    elif failure.of("TypeError") and _TYPE_ERRORS.match(failure.message) and failure.raised_by_user:
        made = (
            {id(value): value for value in users.locals.values() if type(value) is CoroutineType}
            if users
            else {}
        )
        coroutine = next(iter(made.values())) if len(made) == 1 else None
        use = "uses the result of"
    else:
        return None
    if failure.error is not None and failure.of("AttributeError") and type(coroutine) is not CoroutineType:
        return None
    if users is None or users.text.startswith("raise"):
        return None
    name, defined = _described(coroutine)
    return _unawaited(
        f"{failure.kinds[0]}: a coroutine was used before it was awaited",
        f"`{users.call}` {use} {name}{defined}, which has not run: calling an `async def` only makes a "
        "coroutine.",
        _called(coroutine),
        asynchronous=bool(
            users.code and users.code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
        ),
        where=users.where,
    )


def never_awaited(failure: Failure) -> Explanation | None:
    """`coroutine 'create' was never awaited`, as an error."""
    found = re.fullmatch(r"coroutine '([\w.<>]+)' was never awaited", failure.message.partition("\n")[0])
    if not failure.of("RuntimeWarning") or not found:
        return None
    warning = failure.passed("warnings.py", "_warn_unawaited_coroutine")
    coroutine = warning.locals.get("coro") if warning else None
    code = coroutine.cr_code if type(coroutine) is CoroutineType else None
    # A library forgets one, too, after another error: asyncpg's connect(), for one.
    if (code is None or not _is_users(code)) if failure.error is not None else _DRIVERS.fullmatch(found[1]):
        return None
    defined = f" (defined at {place(code.co_filename, code.co_firstlineno)})" if code else ""
    return _unawaited(
        f"RuntimeWarning: {found[1]}() was called and never awaited",
        f"`{found[1]}()`{defined} is an `async def`: calling it makes a coroutine, and nothing has awaited that one, so its body did "
        "not run.",
        f"{found[1].rpartition('.')[2]}(…)",
        asynchronous=False,
        where="",
    )


def test_not_run(failure: Failure) -> Explanation | None:
    """An `async def` test that no plugin runs. pytest fails it."""
    if not failure.of(*_FAILED) or not failure.message.startswith(
        "async def functions are not natively supported."
    ):
        return None
    item: Any = next((f.locals["pyfuncitem"] for f in failure.frames if "pyfuncitem" in f.locals), None)
    code = getattr(getattr(item, "obj", None), "__code__", None)
    name = code.co_name if code else "test_it"
    return Explanation(
        "Failed: an `async def` test that nobody runs",
        f"`async def {name}` is a coroutine function. pytest would only call it, and its body would never run.",
        "pytest runs asynchronous tests only with a plugin, and only those that the plugin takes for its own (by a marker, or by its "
        "mode).",
        [
            (
                "make it synchronous, and run what is asynchronous with greenroom's fixture:",
                f"def {name}(run, async_session):\n    run(…)",
            ),
            (
                "or have anyio, which is installed, run it, on a loop of its own:",
                f"@pytest.mark.anyio\nasync def {name}(anyio_backend):\n    …",
            ),
        ],
        "docs/faq.md#async-def-tests",
        place(code.co_filename, code.co_firstlineno) if code else "",
    )


def fixture_not_run(failure: Failure) -> Explanation | None:
    """An `async def` fixture that no plugin handles."""
    found = re.match(r"'(.*)' requested an async fixture '(\w+)'", failure.message)
    if not failure.of(*_FAILED) or not found or "no plugin or hook that handled it" not in failure.message:
        return None
    code = next(
        (
            getattr(f.locals["fixturefunc"], "__code__", None)
            for f in reversed(failure.frames)
            if "fixturefunc" in f.locals
        ),
        None,
    )
    return Explanation(
        f"Failed: the fixture {found[2]!r} is `async def`, and nobody runs it",
        f"The test {found[1]!r} asks for the fixture {found[2]!r}, which is a coroutine function or an asynchronous generator.",
        "pytest runs asynchronous fixtures only with a plugin. pytest-asyncio takes those that are marked with @pytest_asyncio.fixture "
        "(each, in its auto mode), anyio those of tests that are its own.",
        [
            (
                "make it synchronous, and run what is asynchronous with greenroom's fixture:",
                f"@pytest.fixture\ndef {found[2]}(run, async_session):\n    return run(…)",
            ),
            (
                "or, for the tests of pytest-asyncio:",
                f"@pytest_asyncio.fixture\nasync def {found[2]}():\n    …",
            ),
        ],
        "docs/faq.md#async-def-tests",
        place(code.co_filename, code.co_firstlineno) if code else "",
    )


def _unawaited(title: str, what: str, call: str, *, asynchronous: bool, where: str) -> Explanation:
    ways = [
        ("in a synchronous test, run it:", f"result = run({call})"),
        ("in asynchronous code, await it:", f"result = await {call}"),
    ]
    return Explanation(
        title,
        what,
        "A coroutine runs only when it is awaited, or handed to an event loop.",
        ways[::-1] if asynchronous else ways,
        "docs/faq.md#never-awaited",
        where,
    )


def _described(coroutine: Any) -> tuple[str, str]:
    if type(coroutine) is not CoroutineType:
        return "a coroutine", ""
    code = coroutine.cr_code
    return f"`{coroutine.__qualname__}()`", f" (defined at {place(code.co_filename, code.co_firstlineno)})"


def _called(coroutine: Any) -> str:
    return f"{coroutine.__qualname__}(…)" if type(coroutine) is CoroutineType else "coroutine"


def _is_users(code: CodeType) -> bool:
    return Frame(code.co_filename, code.co_firstlineno, code.co_name, code=code).is_users
