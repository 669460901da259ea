"""Coroutines that nobody awaits, and asynchronous tests and fixtures that nobody runs."""

from __future__ import annotations

import inspect
import re
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Any, Final

from greenroom.explain import calls
from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Frame, place

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_DRIVERS: Final = re.compile(
    r"connect|Connection\.\w+|Pool\.\w+"
    # One of psycopg's or one of SQLAlchemy's: these are psycopg's, or what SQLAlchemy itself may leave.
    r"|AsyncConnection\.(?:connect|rollback|cancel\w*|_\w+)"
    r"|Async\w+\.a?close"
)
_SQLALCHEMYS: Final = re.compile(
    r"(?:Async(Session|Connection|Engine|Transaction)|async_scoped_session)\.(?!a?close)\w+"
)
_WARNS: Final = "_warn_unawaited_coroutine"
_COROUTINE: Final = r"<coroutine object ([\w.<>]+) at 0x\w+>"
_FAILED: Final = ("_pytest.outcomes.Failed", "Failed")
_TYPE_ERRORS: Final = re.compile(
    r"'coroutine' object is not (?:subscriptable|iterable|an iterator)"
    r"|object of type 'coroutine' has no len\(\)"
    r"|(?:cannot unpack non-iterable coroutine object)"
    r"|'coroutine' object does not support (?:the (?:asynchronous )?context manager protocol|item assignment)"
)
_ASSERTED: Final = re.compile(
    rf"^assert (?:(?:not )?{_COROUTINE}(?!.*<coroutine object )|(?!<coroutine object ).* (?:==|!=|in) {_COROUTINE}$)",
    re.MULTILINE,
)


def used_unawaited(failure: Failure) -> Explanation | None:
    """A coroutine was used as if it were its result: `'coroutine' object has no attribute 'status_code'`."""
    users = failure.users
    if users is None or users.text.startswith("raise"):
        return None
    target, call = calls.used(users, failure.message)
    if failure.of("AttributeError") and (
        found := re.fullmatch(r"'coroutine' object has no attribute '(\w+)'", failure.message)
    ):
        coroutine = getattr(failure.error, "obj", None)
        if failure.error is not None and type(coroutine) is not CoroutineType:
            return None
        use = f"reads `.{found[1]}` of"
    elif failure.of("TypeError") and _TYPE_ERRORS.match(failure.message) and failure.raised_by_user:
        coroutine = _of_line(users, target, call)
        use = "uses the result of"
    else:
        return None
    written = call or (f"{coroutine.__name__}(…)" if type(coroutine) is CoroutineType else target)
    return _unawaited(
        f"{failure.kinds[0]}: a coroutine was used before it was awaited",
        f"`{users.call}` {use} {_described(coroutine, written)}, which has not run: calling an `async def` only makes a "
        "coroutine.",
        written or "coroutine",
        users,
        target=target or "result",
    )


def asserted(failure: Failure) -> Explanation | None:
    """A test compares a coroutine: `assert <coroutine object create at 0x…> == 'a'`."""
    users = failure.users
    found = _ASSERTED.search(failure.message)
    if not failure.of("AssertionError") or not found or users is None or not failure.raised_by_user:
        return None
    compared = found[0]
    coroutine = next(
        (
            value
            # Also what pytest keeps of the assertion.
            for value in users.locals.values()
            if type(value) is CoroutineType
            and repr(value) in compared
            and inspect.getcoroutinestate(value) == inspect.CORO_CREATED
        ),
        None,
    )
    if coroutine is None if failure.error is not None else not users.text.startswith("assert "):
        return None
    name = (found[1] or found[2]).rpartition(".")[2]
    target, call = next(
        filter(None, (calls.asserted(users, text, name) for text in (users.expression, users.text))), ("", "")
    )
    return _unawaited(
        "AssertionError: a coroutine was compared before it was awaited",
        f"`{users.text}` checks {_described(coroutine, call or f'{name}(…)')}, which has not run: calling an `async def` only makes a "
        "coroutine.",
        call or f"{name}(…)",
        users,
        target=target or "result",
    )


def never_awaited(failure: Failure) -> Explanation | None:
    """`coroutine 'create' was never awaited`, as an error."""
    found = re.fullmatch(r"coroutine '([\w.<>]+)' was never awaited", failure.message.partition("\n")[0])
    if not failure.of("RuntimeWarning") or not found:
        return None
    # Python 3.14 has it in another file.
    warning = failure.passed("warnings.py", _WARNS) or failure.passed("_py_warnings.py", _WARNS)
    coroutine = warning.locals.get("coro") if warning else None
    code = coroutine.cr_code if type(coroutine) is CoroutineType else None
    # A library forgets one, too, after another error: asyncpg's connect(), for one.
    sqlalchemys = _SQLALCHEMYS.fullmatch(found[1])
    if failure.error is None:
        if _DRIVERS.fullmatch(found[1]):
            return None
    elif code is None or not (_is_users(code) or (sqlalchemys and _of_sqlalchemy(code))):
        return None
    name = _plain(found[1])
    last = name.rpartition(".")[2]
    fallback = f"{(sqlalchemys[1] or 'session').lower()}.{last}(…)" if sqlalchemys else f"{last}(…)"
    # The warning stands where the coroutine was dropped, which need not be the line that made it.
    users = failure.users if failure.error is None else None
    call = calls.named(users.text, last) if users else ""
    return _unawaited(
        f"RuntimeWarning: {name}() was called and never awaited",
        f"`{name}()`{_defined(coroutine)} is an `async def`: calling it makes a coroutine, and nothing has awaited that one, so its body "
        "did not run.",
        call or fallback,
        users if users and (call or not users.text) else None,
        target="",
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


def _unawaited(title: str, what: str, call: str, users: Frame | None, *, target: str) -> Explanation:
    """A coroutine was not awaited.

    Args:
        title: As in `Explanation`.
        what: The same.
        call: The call that made it, or a name of it.
        users: The line, if it is known.
        target: The variable that its result should go to; empty if it goes nowhere.
    """
    result = f"{target} = " if target else ""
    ways = [
        ("in a synchronous test, run it:", f"{result}run({call})"),
        ("in asynchronous code, await it:", f"{result}await {call}"),
    ]
    asynchronous = bool(
        users and users.code and users.code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
    )
    return Explanation(
        title,
        what,
        "A coroutine runs only when it is awaited, or handed to an event loop.",
        ways[::-1] if asynchronous else ways,
        "docs/faq.md#never-awaited",
        users.where if users else "",
    )


def _of_line(users: Frame, target: str, call: str) -> Any:
    """The coroutine that the line uses: its variable's, or the only one that there is; None if it is in no variable."""
    if target in users.locals:
        return users.locals[target]
    made = {id(value): value for value in users.locals.values() if type(value) is CoroutineType}
    return next(iter(made.values())) if len(made) == 1 and not call else None


def _described(coroutine: Any, call: str) -> str:
    if type(coroutine) is CoroutineType:
        return f"`{_plain(coroutine.__qualname__)}()`{_defined(coroutine)}"
    return f"`{call}`" if call else "a coroutine"


def _defined(coroutine: Any) -> str:
    """Where a coroutine's function is, if it is the user's own."""
    code = coroutine.cr_code if type(coroutine) is CoroutineType else None
    return f" (defined at {place(code.co_filename, code.co_firstlineno)})" if code and _is_users(code) else ""


def _plain(qualified: str) -> str:
    """A qualified name without the functions that it is local to."""
    return qualified.rpartition(".<locals>.")[2]


def _of_sqlalchemy(code: CodeType) -> bool:
    return "/sqlalchemy/ext/asyncio/" in code.co_filename.replace("\\", "/")


def _is_users(code: CodeType) -> bool:
    return Frame(code.co_filename, code.co_firstlineno, code.co_name, code=code).is_users
