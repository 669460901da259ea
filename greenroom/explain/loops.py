"""Two event loops where there may be one: a connection, a pool or a lock is used on another loop than it was made on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from greenroom.explain.explanation import Explanation
from greenroom.explain.fixes import cannot_await
from greenroom.explain.places import engine_name, engine_of, loop_of_connection, made_on, ran_on, runner
from greenroom.explain.tasks import two_tasks

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_BUSY: Final = "cannot perform operation: another operation is in progress"
_DRIVERS: Final = ("/asyncpg/", "/psycopg/", "/sqlalchemy/")
_LINK: Final = "docs/faq.md#different-loop"
_POOLED: Final = (
    "An asyncpg connection belongs to the event loop that it was opened on. A pool keeps connections, and hands them out to "
    "whatever loop asks next."
)
_CARRIED: Final = "An asyncpg connection belongs to the event loop that it was opened on, and so does a session while it has a connection."
_ONE_SCOPE: Final = (
    "[tool.pytest.ini_options]\n"
    'asyncio_default_fixture_loop_scope = "session"\n'
    'asyncio_default_test_loop_scope = "session"'
)


def different_loop(failure: Failure) -> Explanation | None:
    """`attached to a different loop`, and asyncpg's connections on a closed one."""
    if not failure.of("RuntimeError") or _raised_by_hand(failure):
        return None
    message = failure.message
    if re.search(r"^Task <.*> got Future <.*> attached to a different loop$", message, re.DOTALL):
        if _in_driver(failure):
            return _connection(
                failure, "RuntimeError: a connection was used on another event loop than it was made on"
            )
        return Explanation(
            "RuntimeError: a future of one event loop was awaited on another",
            f"`{failure.call}` waits for something that was made on another event loop. This line runs on {runner(failure)}.",
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
            _LINK,
            failure.where,
        )
    if message == "Event loop is closed" and failure.passed("asyncio/base_events.py", "_check_closed"):
        if _in_driver(failure):
            return _connection(failure, "RuntimeError: a connection was used after its event loop was closed")
        return Explanation(
            "RuntimeError: an event loop was used after it was closed",
            f"`{failure.call}` needs an event loop that is closed by now.",
            "asyncio.run(), and a test's own loop, close their loop at the end. What was made on it ends with it.",
            [
                (
                    "do it before the loop ends:",
                    "async def main() -> None:\n    …  # all of it\n\nasyncio.run(main())",
                ),
                ("or make what it uses anew, on the loop of now:", "asyncio.get_running_loop()"),
            ],
            "docs/faq.md#event-loop-is-closed",
            failure.where,
        )
    return None


def bound_to_a_loop(failure: Failure) -> Explanation | None:
    """`is bound to a different event loop`: a lock or a queue, also that of SQLAlchemy's pool."""
    if not failure.of("RuntimeError") or not failure.message.endswith(" is bound to a different event loop"):
        return None
    frame = failure.passed("asyncio/mixins.py", "_get_loop")
    if frame is None:
        return None
    bound = frame.locals.get("self")
    made = made_on(getattr(bound, "_loop", None))
    if failure.passed("sqlalchemy/util/queue.py"):
        engine = engine_name(failure)
        return Explanation(
            "RuntimeError: a pool was used on two event loops",
            f"All connections of {engine or 'the engine'} were in use, so `{failure.call}` had to wait for one, on "
            f"{runner(failure)}. The pool's queue has been waited for before, on {made}.",
            "A pool of an asynchronous engine belongs to the first loop that had to wait for a connection, with each driver.",
            _one_loop(failure),
            "docs/faq.md#queue-bound-to-a-different-event-loop",
            failure.where,
        )
    kind = type(bound).__name__ if bound is not None else failure.message.partition(" ")[0].lstrip("<")
    return Explanation(
        f"RuntimeError: an asyncio.{kind.rpartition('.')[2]} was used on two event loops",
        f"`{failure.call}` uses it on {runner(failure)}. It has been used before on {made}.",
        "Locks, queues and events of asyncio belong to the first loop that waits for them. One at module level outlives its loop.",
        [
            ("make it where the loop runs, for example in the lifespan:", "app.state.lock = asyncio.Lock()"),
            ("or use all of it on one loop:", "run(coroutine)  # greenroom's fixture"),
        ],
        "docs/faq.md#queue-bound-to-a-different-event-loop",
        failure.where,
    )


def running_already(failure: Failure) -> Explanation | None:
    """`asyncio.run() cannot be called from a running event loop` and its like."""
    text = re.match(
        r"(?:asyncio\.run\(\)|Runner\.run\(\)) cannot be called from a running event loop$"
        r"|This event loop is already running$|Cannot run the event loop while another loop is running$",
        failure.message,
    )
    if not text or not failure.of("RuntimeError"):
        return None
    if not (failure.passed("asyncio/runners.py") or failure.passed("asyncio/base_events.py")):
        return None
    call = failure.call
    inner = re.fullmatch(r"(?:asyncio\.run|\w+\.run_until_complete|\w+\.run)\((.*)\)", call)
    users = failure.users
    if users and cannot_await(users):
        first = (
            f"call {users.function}(), which cannot await, in a thread: there is no loop yet:",
            f"await asyncio.to_thread({users.function})",
        )
    else:
        first = ("await it:", f"await {inner[1] if inner else 'coroutine'}")
    return Explanation(
        "RuntimeError: a loop was started where one runs already",
        f"`{call}` starts an event loop, in code that runs on one.",
        "A thread has one running event loop. What is called from asynchronous code can await instead.",
        [
            first,
            (
                "or, in a synchronous test, let greenroom run it:",
                f"run({inner[1] if inner else 'coroutine'})",
            ),
        ],
        "docs/faq.md#running-event-loop",
        failure.where,
    )


def busy(failure: Failure) -> Explanation | None:
    """Asyncpg's `another operation is in progress`: two tasks share a connection, or another loop left it half-way.

    Asked last: where the chain holds an error of a loop, that one is the reason.
    """
    if (
        not failure.of("sqlalchemy.exc.InterfaceError", "asyncpg.exceptions._base.InterfaceError")
        or _BUSY not in failure.message
    ):
        return None
    loop = loop_of_connection(failure)
    if loop is not None and not ran_on(failure, loop):
        return _connection(
            failure,
            "InterfaceError: a connection was used while it was half-way in an operation of another event loop",
        )
    if loop is None and failure.error is not None:
        return None
    if failure.error is not None:
        return two_tasks(failure, "InterfaceError: two operations at the same time on one connection")
    return two_tasks(
        failure,
        "InterfaceError: another operation is in progress on one connection",
        ", or an error of an event loop before this one has left it half-way: look for the first error",
    )


def _connection(failure: Failure, title: str) -> Explanation:
    made = made_on(loop_of_connection(failure))
    engine = engine_name(failure)
    carried = _carried(failure)
    return Explanation(
        title,
        f"`{failure.call}` runs on {runner(failure)}. The connection that it "
        + (f"uses was opened on {made}, " if carried else f"got was opened on {made}.")
        + ("by the session or connection that is used here." if carried else "")
        + (f" It comes from the pool of {engine}." if engine and not carried else ""),
        _CARRIED if carried else _POOLED,
        _open_here(failure) if carried else _one_loop(failure),
        _LINK,
        failure.where,
    )


def _carried(failure: Failure) -> bool:
    """Whether a session or connection has brought it along, and no pool has handed it out on this loop."""
    from sqlalchemy.pool import NullPool

    engine = engine_of(failure)
    if engine is not None and isinstance(engine.pool, NullPool):
        return True
    dialect = "sqlalchemy/dialects/postgresql/asyncpg.py"
    frame = failure.passed(dialect)
    # What a pool hands out begins its transaction with the first statement, here.
    if (
        frame is None
        or failure.passed(dialect, "_start_transaction")
        or failure.passed("sqlalchemy/pool/base.py", "_checkout")
    ):
        return False
    if failure.passed(dialect, "commit", "rollback"):
        return True  # they end what a statement has begun before
    adapted = frame.locals.get("adapt_connection", frame.locals.get("self"))
    # The former in SQLAlchemy 2.1, the latter in 2.0.
    return getattr(adapted, "_transaction", None) is not None or getattr(adapted, "_started", False) is True


def _open_here(failure: Failure) -> list[tuple[str, str]]:
    inside = ("open it where it is used, on the same loop:", "async with new_session() as session:\n    …")
    if failure.passed("pytest_asyncio/plugin.py"):
        return [("run fixtures and tests on one loop; both lines are needed:", _ONE_SCOPE), inside]
    return [
        inside,
        ("or run all of it on the application's one loop, with greenroom's fixture:", "run(coroutine)"),
    ]


def _one_loop(failure: Failure) -> list[tuple[str, str]]:
    started = next(
        (
            found
            for frame in reversed(failure.frames)
            if frame.is_users and (found := re.fullmatch(r"asyncio\.run\((.*)\)", frame.expression))
        ),
        None,
    )
    own = (
        "or give that code an engine that keeps no connection:",
        "create_async_engine(url, poolclass=NullPool)",
    )
    if failure.passed("pytest_asyncio/plugin.py"):
        return [("run fixtures and tests on one loop; both lines are needed:", _ONE_SCOPE), own]
    call: Any = started[1] if started else "coroutine"
    return [("run it on the application's one loop, with greenroom's fixture:", f"run({call})"), own]


def _in_driver(failure: Failure) -> bool:
    return any(
        part in frame.file.replace("\\", "/") for frame in failure.after_users for part in _DRIVERS
    ) or any(frame.file.startswith("asyncpg/") for frame in failure.after_users)


def _raised_by_hand(failure: Failure) -> bool:
    """Whether a line of the user's says `raise`, with a text that is like one of asyncio."""
    return failure.raised_by_user and failure.frames[-1].text.startswith("raise")
