"""Coroutines that nobody awaits, and asynchronous tests and fixtures that nobody runs."""

from __future__ import annotations

import inspect
import re
from types import CodeType, CoroutineType
from typing import Any, Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.explanation import Explanation
from greenroom.diagnosis.frames import Frame, is_users, place_of
from greenroom.explain.failure import Failure
from greenroom.explain.recognisers import calls
from greenroom.explain.registry import recogniser

_DRIVERS: Final = re.compile(
    r"connect|Connection\.\w+|Pool\.\w+"
    # One of psycopg's or one of SQLAlchemy's: these are psycopg's, or what SQLAlchemy itself may leave.
    r"|AsyncConnection\.(?:connect|rollback|cancel\w*|_\w+)"
    r"|Async\w+\.a?close"
)
_SQLALCHEMYS: Final = re.compile(
    r"(?:Async(Session|Connection|Engine|Transaction)|async_scoped_session)\.(?!a?close)\w+"
)
_COROUTINE: Final = r"<coroutine object ([\w.<>]+) at 0x\w+>"
_FAILED: Final = ("_pytest.outcomes.Failed", "Failed")


@recogniser("AttributeError", says=r"^'coroutine' object has no attribute '(\w+)'$", section="never-awaited")
def attribute_read(failure: Failure) -> Explanation | None:
    """`'coroutine' object has no attribute 'status_code'`."""
    coroutine = getattr(failure.error, "obj", None)
    if failure.error is not None and type(coroutine) is not CoroutineType:
        return None
    return _used(failure, f"reads `.{failure.said[1]}` of", coroutine)


@recogniser(
    "TypeError",
    says=r"^(?:'coroutine' object is not (?:subscriptable|iterable|an iterator)"
    r"|object of type 'coroutine' has no len\(\)"
    r"|cannot unpack non-iterable coroutine object"
    r"|'coroutine' object does not support (?:the (?:asynchronous )?context manager protocol|item assignment))",
    section="never-awaited",
)
def result_used(failure: Failure) -> Explanation | None:
    """`'coroutine' object is not subscriptable`, and whatever else a coroutine cannot do."""
    return _used(failure, "uses the result of") if failure.raised_by_user else None


def _used(failure: Failure, use: str, coroutine: Any = None) -> Explanation | None:
    """A coroutine was used as if it were its result."""
    users = failure.users
    if users is None or failure.raised_by_hand:
        return None
    target, call = calls.used(users, failure.message)
    coroutine = coroutine or _of_line(users, target, call)
    written = call or (f"{coroutine.__name__}(…)" if type(coroutine) is CoroutineType else target)
    return _unawaited(
        f"{failure.kind}: a coroutine was used before it was awaited",
        f"{users.quoted} {use} {_described(coroutine, written)}, which has not run: calling an `async def` only makes a "
        "coroutine.",
        written or "coroutine",
        users,
        target or "result",
    )


@recogniser(
    "AssertionError",
    says=re.compile(
        rf"^assert (?:(?:not )?{_COROUTINE}(?!.*<coroutine object )|(?!<coroutine object ).* (?:==|!=|in) {_COROUTINE}$)",
        re.MULTILINE,
    ),
    section="never-awaited",
)
def compared(failure: Failure) -> Explanation | None:
    """A test compares a coroutine: `assert <coroutine object create at 0x…> == 'a'`."""
    users, said = failure.users, failure.said
    if users is None or not failure.raised_by_user:
        return None
    # Also among what pytest keeps of the assertion.
    unawaited = (
        value
        for value in users.locals.values()
        if type(value) is CoroutineType
        and repr(value) in said[0]
        and inspect.getcoroutinestate(value) == inspect.CORO_CREATED
    )
    coroutine = next(unawaited, None)
    if coroutine is None if failure.error is not None else not users.text.startswith("assert "):
        return None
    name = (said[1] or said[2]).rpartition(".")[2]
    found = (calls.asserted(users, text, name) for text in (users.expression, users.text))
    target, call = next(filter(None, found), ("", ""))
    call = call or f"{name}(…)"
    return _unawaited(
        "AssertionError: a coroutine was compared before it was awaited",
        f"`{users.text}` checks {_described(coroutine, call)}, which has not run: calling an `async def` only makes a coroutine.",
        call,
        users,
        target or "result",
    )


@recogniser(
    "RuntimeWarning",
    says=r"^coroutine '([\w.<>]+)' was never awaited(?:\n|$)",
    section="never-awaited",
    says_where=True,
)
def never_awaited(failure: Failure) -> Explanation | None:
    """`coroutine 'create' was never awaited`, as an error."""
    # Python 3.14 has it in another file.
    warning = failure.passed("warnings.py", "_warn_unawaited_coroutine") or failure.passed(
        "_py_warnings.py", "_warn_unawaited_coroutine"
    )
    coroutine = warning.locals.get("coro") if warning else None
    code = coroutine.cr_code if type(coroutine) is CoroutineType else None
    qualified = failure.said[1]
    # A library forgets one, too, after another error: asyncpg's connect(), for one.
    sqlalchemys = _SQLALCHEMYS.fullmatch(qualified)
    if failure.error is None:
        if _DRIVERS.fullmatch(qualified):
            return None
    elif code is None or not (is_users(code.co_filename) or (sqlalchemys and _of_sqlalchemy(code))):
        return None
    name = _plain(qualified)
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
        "",
    )


@recogniser(
    *_FAILED,
    says=r"^async def functions are not natively supported\.",
    section="async-def-tests",
    says_where=True,
)
def test_not_run(failure: Failure) -> Explanation:
    """An `async def` test that no plugin runs. pytest fails it."""
    item: Any = next((f.locals["pyfuncitem"] for f in failure.frames if "pyfuncitem" in f.locals), None)
    code = getattr(getattr(item, "obj", None), "__code__", None)
    name = code.co_name if code else "test_it"
    return Explanation(
        "Failed: an `async def` test that nobody runs",
        f"{f'`async def {name}`' if code else 'The test'} is a coroutine function. pytest would only call it, and its body would never run.",
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
        where=place_of(code),
    )


# Before pytest 9 it was a warning.
@recogniser(
    *_FAILED,
    "pytest.PytestRemovedIn9Warning",
    says=r"^'(.*)' requested an async fixture '(\w+)'.*no plugin or hook that handled it",
    section="async-def-tests",
    says_where=True,
)
def fixture_not_run(failure: Failure) -> Explanation:
    """An `async def` fixture that no plugin handles."""
    test, fixture = failure.said.groups()
    functions = (f.locals["fixturefunc"] for f in reversed(failure.frames) if "fixturefunc" in f.locals)
    code = getattr(next(functions, None), "__code__", None)
    return Explanation(
        f"Failed: the fixture {fixture!r} is `async def`, and nobody runs it",
        f"The test {test!r} asks for the fixture {fixture!r}, which is a coroutine function or an asynchronous generator.",
        "pytest runs asynchronous fixtures only with a plugin. pytest-asyncio takes those that are marked with @pytest_asyncio.fixture "
        "(each, in its auto mode), anyio those of tests that are its own.",
        fixes.of_fixture(fixture, "return"),
        where=place_of(code),
    )


@recogniser(
    "pytest.PytestDeprecationWarning",
    "pytest.PytestRemovedIn9Warning",
    says=r"^(?:asyncio test '(?P<test>[^']+)' requested async @pytest\.fixture '(?P<fixture>\w+)' in strict mode"
    r"|'(?P<fixture2>\w+)' is requested.* but.* strict mode)",
    section="async-def-tests",
    says_where=True,
)
def fixture_in_strict_mode(failure: Failure) -> Explanation:
    """pytest-asyncio leaves an asynchronous fixture alone that is not marked as its own."""
    fixture = failure.said["fixture"] or failure.said["fixture2"]
    return Explanation(
        f"{failure.kind}: pytest-asyncio does not run the fixture {fixture!r}",
        f"The fixture {fixture!r} is `async def` and has pytest's own decorator, which pytest-asyncio's strict mode leaves alone: the test "
        "gets a coroutine or a generator.",
        "In strict mode, the default, only what is marked with @pytest_asyncio.fixture is run. In auto mode everything is.",
        [
            fixes.of_fixture(fixture, "return")[1],
            ("or run all of them, in the configuration:", 'asyncio_mode = "auto"'),
        ],
    )


@recogniser(
    *_FAILED,
    "ScopeMismatch",
    says=r"(?:^ScopeMismatch: )?You tried to access the '?(?P<inner>\w+)'? scoped fixture '?(?P<fixture>\w+)'? with a "
    r"'?(?P<outer>\w+)'? scoped request object",
    section="fixture-scopes",
    says_where=True,
)
def scopes(failure: Failure) -> Explanation:
    """A fixture asks for one that does not live as long."""
    said = failure.said
    fixture, inner, outer = said["fixture"], said["inner"], said["outer"]
    asking = re.search(r"^\S+:\d+:\s+(?:async )?def (\w+)\(", failure.message, re.MULTILINE)
    name = asking[1] if asking else "it"
    its_loop = "event_loop" in fixture
    widen = (
        (
            "run the fixture on a loop that lives as long (pytest-asyncio):",
            f'@pytest_asyncio.fixture(scope="{outer}", loop_scope="{outer}")\nasync def {name}():\n    …',
        )
        if its_loop
        else (
            f"let {fixture!r} live as long, if nothing in it is one test's:",
            f'@pytest.fixture(scope="{outer}")\ndef {fixture}():\n    …',
        )
    )
    return Explanation(
        f"ScopeMismatch: a fixture of the scope {outer!r} asks for one of the scope {inner!r}",
        f"The fixture {fixture!r} ends after each {inner}, and what asks for it lives for the whole {outer}.",
        "A fixture can only use what lives at least as long as itself."
        + (" An asynchronous one needs a loop that does." if its_loop else ""),
        [
            widen,
            (
                f"or make the one that asks a {inner}'s:",
                f'@pytest.fixture(scope="{inner}")\ndef {name}({fixture}):\n    …',
            ),
        ],
    )


def _unawaited(title: str, what: str, call: str, users: Frame | None, target: str) -> Explanation:
    """A coroutine was not awaited.

    Args:
        title: As in `Explanation`.
        what: As in `Explanation`.
        call: The call that made it, or a name of it.
        users: The line, if it is known.
        target: The variable that its result should go to; empty if it goes nowhere.
    """
    result = f"{target} = " if target else ""
    ways = [
        ("in a synchronous test, run it:", f"{result}run({call})"),
        ("in asynchronous code, await it:", f"{result}await {call}"),
    ]
    if users and users.code and users.code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        ways.reverse()
    return Explanation(
        title,
        what,
        "A coroutine runs only when it is awaited, or handed to an event loop.",
        ways,
        where=users.where if users else "",
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
    return f" (defined at {place_of(code)})" if code and is_users(code.co_filename) else ""


def _plain(qualified: str) -> str:
    """A qualified name without the functions that it is local to."""
    return qualified.rpartition(".<locals>.")[2]


def _of_sqlalchemy(code: CodeType) -> bool:
    return "/sqlalchemy/ext/asyncio/" in code.co_filename.replace("\\", "/")
