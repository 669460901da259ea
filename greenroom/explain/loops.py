"""Two event loops where there may be one: a connection, a pool or a lock is used on another loop than it was made on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from greenroom.explain.explanation import Explanation
from greenroom.explain.places import engine_name, loop_of_connection, made_on, ran_on, runner

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_BUSY: Final = "cannot perform operation: another operation is in progress"
_DRIVERS: Final = ("/asyncpg/", "/psycopg/", "/sqlalchemy/")
_LINK: Final = "docs/faq.md#different-loop"
_WHY: Final = (
    "An asyncpg connection belongs to the event loop that it was opened on. A pool keeps connections, and hands them out to "
    "whatever loop asks next."
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
    return Explanation(
        "RuntimeError: a loop was started where one runs already",
        f"`{call}` starts an event loop, in code that runs on one.",
        "A thread has one running event loop. What is called from asynchronous code can await instead.",
        [
            ("await it:", f"await {inner[1] if inner else 'coroutine'}"),
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
    certain = failure.error is not None
    return Explanation(
        f"InterfaceError: {'two operations at the same time' if certain else 'another operation is in progress'} on one connection",
        f"`{failure.call}` uses a connection on which another operation is not finished: two tasks share a session or "
        "connection (asyncio.gather, create_task, a task that outlives its request)"
        + (
            "."
            if certain
            else ", or an error of an event loop before this one has left it half-way: look for the first error."
        ),
        "A connection does one thing at a time, and an AsyncSession is one connection.",
        [
            (
                "give each task a session of its own:",
                "async def work() -> None:\n    async with new_session() as session:\n        …\n\nawait asyncio.gather(work(), work())",
            ),
            ("or do one after the other:", "await session.execute(first)\nawait session.execute(second)"),
        ],
        "docs/faq.md#another-operation-is-in-progress",
        failure.where,
    )


def _connection(failure: Failure, title: str) -> Explanation:
    made = made_on(loop_of_connection(failure))
    engine = engine_name(failure)
    return Explanation(
        title,
        f"`{failure.call}` runs on {runner(failure)}. The connection that it got was opened on {made}."
        + (f" It comes from the pool of {engine}." if engine else ""),
        _WHY,
        _one_loop(failure),
        _LINK,
        failure.where,
    )


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
        ini = '[tool.pytest.ini_options]\nasyncio_default_fixture_loop_scope = "session"\nasyncio_default_test_loop_scope = "session"'
        return [("run fixtures and tests on one loop; both lines are needed:", ini), own]
    call: Any = started[1] if started else "coroutine"
    return [("run it on the application's one loop, with greenroom's fixture:", f"run({call})"), own]


def _in_driver(failure: Failure) -> bool:
    return any(
        part in frame.file.replace("\\", "/") for frame in failure.after_users for part in _DRIVERS
    ) or any(frame.file.startswith("asyncpg/") for frame in failure.after_users)


def _raised_by_hand(failure: Failure) -> bool:
    """Whether a line of the user's says `raise`, with a text that is like one of asyncio."""
    return failure.raised_by_user and failure.frames[-1].text.startswith("raise")
