"""Two tasks that share a session or a connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.failure import Failure, failure_of
from greenroom.explain.registry import recogniser

_SECTION: Final = "another-operation-is-in-progress"


@recogniser(
    "sqlalchemy.exc.InvalidRequestError",
    says="^This session is provisioning a new connection; concurrent operations are not permitted",
    section=_SECTION,
    sqlalchemy=True,
)
def connecting(failure: Failure) -> Explanation | None:
    """What a session says to a second task while the first still waits for the connection."""
    if _within_session(failure):
        return None
    return two_tasks(failure, "InvalidRequestError: two tasks use one session at the same time")


# A block that closes its session says it, too, where the error that ended the block is the one to explain.
@recogniser(
    "sqlalchemy.exc.IllegalStateChangeError",
    says=r"^Method '(\w+)\(\)' can't be called here; method '(\w+)\(\)' is already in progress",
    section=_SECTION,
    sqlalchemy=True,
    consequence=True,
)
def in_progress(failure: Failure) -> Explanation | None:
    """What a session says that is in the middle of another method."""
    if _within_session(failure):
        return None
    method, other = failure.said.groups()
    if method == "close":
        return _closed_too_early(failure, other)
    return two_tasks(failure, f"IllegalStateChangeError: {method}() while another task uses the session")


def _closed_too_early(failure: Failure, other: str) -> Explanation:
    """A block closes its session while a statement of that session is not finished."""
    doing = (
        "it waits for its connection"
        if other == "_connection_for_bind"
        else f"its `{other}()` is not finished"
    )
    behind = {name.rpartition(".")[2] for name in failure.behind}
    why = "The block has ended, and what runs in it has not: its coroutine was cancelled or dropped (a client that left, a timeout), "
    why += "or a task that was begun in the block goes on (asyncio.gather, create_task)."
    fixes = [
        (
            "end what uses the session before the block ends; a group of tasks does, also when one fails:",
            "async with new_session() as session:\n    async with asyncio.TaskGroup() as group:\n        …",
        ),
        (
            "or give what may go on a session of its own:",
            "async def work() -> None:\n    async with new_session() as session:\n        …",
        ),
    ]
    if "GeneratorExit" in behind or failure.passed("contextlib.py", "athrow", "aclose"):
        why = (
            "The generator that holds the session was closed meanwhile: by an `async for` that was broken off, by a client that left, by a "
            "timeout, or by the end of a request or a loop, while another task or a dropped coroutine was in the middle of that statement."
        )
        fixes = [
            (
                "close a generator where it is used, so that it ends there and not some time later:",
                "from contextlib import aclosing\n\nasync with aclosing(rows()) as items:\n    async for item in items:\n        …",
            ),
            fixes[1],
        ]
    elif behind & {"CancelledError", "TimeoutError"}:
        why = (
            "The task was cancelled: by a client that left, asyncio.timeout() or wait_for(), or a task group that another task has failed. "
            "The block closes its session then, while the statement was still being given up."
        )
    return Explanation(
        "IllegalStateChangeError: a session was closed in the middle of a statement",
        f"{failure.quoted} closes the session while {doing}.",
        why,
        fixes,
        "session-closed-in-the-middle",
    )


def two_tasks(failure: Failure, title: str, otherwise: str = "") -> Explanation:
    """What two tasks do to each other on one connection.

    Args:
        failure: The error.
        title: What went wrong, in half a line.
        otherwise: What else it may be, as the end of a sentence.
    """
    return Explanation(
        title,
        f"{failure.quoted} uses a session or connection on which another operation is not finished: two tasks share it "
        f"(asyncio.gather, create_task, a task that outlives its request){otherwise}.",
        "A connection does one thing at a time, and an AsyncSession is one connection.",
        [
            (
                "give each task a session of its own:",
                "async def work() -> None:\n    async with new_session() as session:\n        …\n\nawait asyncio.gather(work(), work())",
            ),
            ("or do one after the other:", "await session.execute(first)\nawait session.execute(second)"),
        ],
        _SECTION,
    )


def _within_session(failure: Failure) -> bool:
    """Whether the session itself has called the user's line, as it calls listeners of events: then it is one task."""
    # Its own frames: those of an exception that was raised while this one was handled stand before them.
    own = (
        failure_of(failure.error)
        if failure.error
        else replace(failure, frames=failure.frames[failure.wrapping :])
    )
    before = own.frames[: own.frames.index(own.users)] if own.users else ()
    return any(frame.within("sqlalchemy/orm/session.py", "sqlalchemy/event/attr.py") for frame in before)
