"""Two event loops where there may be one: a connection, a pool or a lock is used on another loop than it was made on."""

from __future__ import annotations

import re
from typing import Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.explanation import Explanation, Fix
from greenroom.diagnosis.loops import described
from greenroom.explain.failure import Failure
from greenroom.explain.involved import engine_name, engine_of, loop_of_connection, ran_on, runner
from greenroom.explain.recognisers.tasks import two_tasks
from greenroom.explain.registry import recogniser

_SECTION: Final = "different-loop"
_ASYNCPG: Final = "sqlalchemy/dialects/postgresql/asyncpg.py"
_DRIVERS: Final = re.compile(r"[/\\](?:asyncpg|psycopg|sqlalchemy)[/\\]|^asyncpg/")
_BELONGS: Final = "An asyncpg connection belongs to the event loop that it was opened on"
_LOCKS: Final = "Locks, queues and events of asyncio belong to the first loop that waits for them. One at module level outlives its loop."
_LOCKS_FIXES: Final[list[Fix]] = [
    ("make it where the loop runs, for example in the lifespan:", "app.state.lock = asyncio.Lock()"),
    ("or use all of it on one loop:", "run(coroutine)  # greenroom's fixture"),
]
_ONE_SCOPE: Final = (
    "run fixtures and tests on one loop; both lines are needed:",
    '[tool.pytest.ini_options]\nasyncio_default_fixture_loop_scope = "session"\nasyncio_default_test_loop_scope = "session"',
)


@recogniser("RuntimeError", says="^Task <.*> got Future <.*> attached to a different loop$", section=_SECTION)
def different_loop(failure: Failure) -> Explanation | None:
    """`attached to a different loop`."""
    if failure.raised_by_hand:
        return None
    # What the future waits for is in its callbacks: this one is asyncpg's.
    if _in_driver(failure) or "Protocol._on_waiter_completed()" in failure.message:
        return _connection(
            failure, "RuntimeError: a connection was used on another event loop than it was made on"
        )
    if failure.users is None:
        return Explanation(
            "RuntimeError: something of one event loop was awaited on another",
            "A future, a lock, a queue or a connection was made on one event loop and awaited on another. The text does not tell which.",
            "Each of them belongs to the loop that it was made on. A pool of connections at module level outlives the loop of a test.",
            [
                fixes.on_greenrooms_loop(),
                ("or, of an engine's connections, keep none for the other loop's code:", fixes.NO_POOL[1]),
            ],
        )
    if failure.passed("asyncio/locks.py") or failure.passed("asyncio/queues.py"):
        # Up to Python 3.9; since then they say it themselves, see `bound_to_a_loop`.
        return Explanation(
            "RuntimeError: a lock or a queue was used on two event loops",
            f"{failure.quoted} waits for it on {runner(failure)}. It was made on another loop, or has been waited for there.",
            _LOCKS,
            _LOCKS_FIXES,
        )
    return Explanation(
        "RuntimeError: a future of one event loop was awaited on another",
        f"{failure.quoted} waits for something that was made on another event loop. This line runs on {runner(failure)}.",
        "Futures, tasks, and what is built of them belong to the loop that they were made on.",
        [
            (
                "make it where it is awaited, on the same loop:",
                "future = asyncio.get_running_loop().create_future()",
            ),
            (
                "or hand the coroutine over to its loop:",
                "asyncio.run_coroutine_threadsafe(coroutine, loop)",
            ),
        ],
    )


@recogniser("RuntimeError", says="^Event loop is closed$", section="event-loop-is-closed")
def closed_loop(failure: Failure) -> Explanation | None:
    """`Event loop is closed`, also of asyncpg's connections on one."""
    # Of a text, it may be all that there is.
    known = failure.passed("asyncio/base_events.py", "_check_closed") and not failure.raised_by_hand
    if not known and (failure.error is not None or failure.frames):
        return None
    if _in_driver(failure):
        return _connection(failure, "RuntimeError: a connection was used after its event loop was closed")
    return Explanation(
        "RuntimeError: an event loop was used after it was closed",
        f"{failure.quoted} needs an event loop that is closed by now.",
        "asyncio.run(), and a test's own loop, close their loop at the end. What was made on it ends with it.",
        [
            (
                "do it before the loop ends:",
                "async def main() -> None:\n    …  # all of it\n\nasyncio.run(main())",
            ),
            ("or make what it uses anew, on the loop that runs then:", "asyncio.get_running_loop()"),
        ],
    )


@recogniser(
    "RuntimeError",
    says=" is bound to a different event loop$",
    section="queue-bound-to-a-different-event-loop",
)
def bound_to_a_loop(failure: Failure) -> Explanation | None:
    """`is bound to a different event loop`: a lock or a queue, also that of SQLAlchemy's pool."""
    frame = failure.passed("asyncio/mixins.py", "_get_loop")
    if frame is None:
        return None
    bound = frame.locals.get("self")
    made = described(getattr(bound, "_loop", None))
    if failure.passed("sqlalchemy/util/queue.py"):
        return Explanation(
            "RuntimeError: a pool was used on two event loops",
            f"All connections of {engine_name(failure) or 'the engine'} were in use, so {failure.quoted} had to wait for one, on "
            f"{runner(failure)}. The pool's queue has been waited for before, on {made}.",
            "A pool of an asynchronous engine belongs to the first loop that had to wait for a connection, with each driver.",
            _one_loop(failure),
        )
    kind = type(bound).__name__ if bound is not None else failure.message.partition(" ")[0].lstrip("<")
    return Explanation(
        f"RuntimeError: an asyncio.{kind.rpartition('.')[2]} was used on two event loops",
        f"{failure.quoted} uses it on {runner(failure)}. It has been used before on {made}.",
        _LOCKS,
        _LOCKS_FIXES,
    )


@recogniser(
    "RuntimeError",
    says=r"^(?:(?:asyncio\.run\(\)|Runner\.run\(\)) cannot be called from a running event loop"
    r"|This event loop is already running|Cannot run the event loop while another loop is running)$",
    section="running-event-loop",
)
def running_already(failure: Failure) -> Explanation | None:
    """`asyncio.run() cannot be called from a running event loop` and its like."""
    # The same: some have cut off its end.
    known = failure.passed("asyncio/runners.py") or failure.passed("asyncio/base_events.py")
    if not known and (failure.error is not None or failure.raised_by_user or failure.raised_by_hand):
        return None
    started = re.fullmatch(
        r"(?:asyncio\.run|\w+\.run_until_complete|\w+\.run)\((.*)\)",
        failure.users.call if failure.users else "",
    )
    coroutine = started[1] if started else "coroutine"
    users = failure.users
    if users and fixes.cannot_await(users):
        first = (
            f"call {users.function}(), which cannot await, in a thread: there is no loop yet:",
            f"await asyncio.to_thread({users.function})",
        )
    else:
        first = ("await it:", f"await {coroutine}")
    return Explanation(
        "RuntimeError: a loop was started where one runs already",
        f"{failure.quoted} starts an event loop, in code that runs on one.",
        "A thread has one running event loop. What is called from asynchronous code can await instead.",
        [first, ("or, in a synchronous test, let greenroom run it:", f"run({coroutine})")],
    )


# Where the chain holds an error of a loop, that one is the reason.
@recogniser(
    "sqlalchemy.exc.InterfaceError",
    "asyncpg.exceptions._base.InterfaceError",
    says="cannot perform operation: another operation is in progress",
    section=_SECTION,
    consequence=True,
)
def busy(failure: Failure) -> Explanation | None:
    """Asyncpg's `another operation is in progress`: two tasks share a connection, or another loop left it half-way."""
    loop = loop_of_connection(failure)
    if loop is not None and not ran_on(failure, loop):
        return _connection(
            failure,
            "InterfaceError: a connection was used while it was half-way in an operation of another event loop",
        )
    if failure.error is None:
        return two_tasks(
            failure,
            "InterfaceError: another operation is in progress on one connection",
            ", or an error of an event loop before this one has left it half-way: look for the first error",
        )
    if loop is None:
        return None
    return two_tasks(failure, "InterfaceError: two operations at the same time on one connection")


def _connection(failure: Failure, title: str) -> Explanation:
    made = described(loop_of_connection(failure))
    here = f"{failure.quoted} runs on {runner(failure)}."
    if _carried(failure):
        return Explanation(
            title,
            f"{here} The connection that it uses was opened on {made}, by the session or connection that is used here.",
            f"{_BELONGS}, and so does a session while it has a connection.",
            _open_here(failure),
            _SECTION,
        )
    engine = engine_name(failure)
    return Explanation(
        title,
        f"{here} The connection that it got was opened on {made}."
        + (f" It comes from the pool of {engine}." if engine else ""),
        f"{_BELONGS}. A pool keeps connections, and hands them out to whatever loop asks next.",
        _one_loop(failure),
        _SECTION,
    )


def _carried(failure: Failure) -> bool:
    """Whether a session or connection has brought it along, and no pool has handed it out on this loop."""
    from sqlalchemy.pool import NullPool

    engine = engine_of(failure)
    if engine is not None and isinstance(engine.pool, NullPool):
        return True
    frame = failure.passed(_ASYNCPG)
    # What a pool hands out begins its transaction with the first statement, here.
    if (
        frame is None
        or failure.passed(_ASYNCPG, "_start_transaction")
        or failure.passed("sqlalchemy/pool/base.py", "_checkout")
    ):
        return False
    if failure.passed(_ASYNCPG, "commit", "rollback"):
        return True  # they end what a statement has begun before
    adapted = frame.locals.get("adapt_connection", frame.locals.get("self"))
    # The former in SQLAlchemy 2.1, the latter in 2.0.
    return getattr(adapted, "_transaction", None) is not None or getattr(adapted, "_started", False) is True


def _open_here(failure: Failure) -> list[Fix]:
    inside = ("open it where it is used, on the same loop:", fixes.BLOCK)
    if failure.passed("pytest_asyncio/plugin.py"):
        return [_ONE_SCOPE, inside]
    words, code = fixes.on_greenrooms_loop()
    return [inside, (f"or {words}", code)]


def _one_loop(failure: Failure) -> list[Fix]:
    if failure.passed("pytest_asyncio/plugin.py"):
        return [_ONE_SCOPE, fixes.NO_POOL]
    runs = (
        re.fullmatch(r"asyncio\.run\((.*)\)", frame.expression)
        for frame in reversed(failure.frames)
        if frame.is_users
    )
    coroutine = next((found[1] for found in runs if found), "coroutine")
    return [fixes.on_greenrooms_loop(coroutine), fixes.NO_POOL]


def _in_driver(failure: Failure) -> bool:
    return any(_DRIVERS.search(frame.file) for frame in failure.after_users)
