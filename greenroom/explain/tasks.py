"""Two tasks that share a session or a connection."""

from __future__ import annotations

import re
from typing import Final

from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Failure, failure_of

_IN_PROGRESS: Final = re.compile(
    r"Method '(\w+)\(\)' can't be called here; method '(\w+)\(\)' is already in progress"
)


def connecting(failure: Failure) -> Explanation | None:
    """What a session says to a second task while the first still waits for the connection."""
    if (
        failure.of("sqlalchemy.exc.InvalidRequestError")
        and failure.in_sqlalchemy
        and failure.message.startswith(
            "This session is provisioning a new connection; concurrent operations are not permitted"
        )
        and not _within_session(failure)
    ):
        return two_tasks(failure, "InvalidRequestError: two tasks use one session at the same time")
    return None


def in_progress(failure: Failure) -> Explanation | None:
    """What a session says that is in the middle of another method.

    Asked last: a block that closes its session says it, too, where the error that ended the block is the one to explain.
    """
    found = _IN_PROGRESS.match(failure.message)
    if not (found and failure.of("sqlalchemy.exc.IllegalStateChangeError") and failure.in_sqlalchemy):
        return None
    if _within_session(failure):
        return None
    return two_tasks(failure, f"IllegalStateChangeError: {found[1]}() while another task uses the session")


def two_tasks(failure: Failure, title: str, otherwise: str = "") -> Explanation:
    """What two tasks do to each other on one connection.

    Args:
        failure: The error.
        title: What went wrong, in half a line.
        otherwise: What else it may be, as the end of a sentence.
    """
    return Explanation(
        title,
        f"`{failure.call}` uses a session or connection on which another operation is not finished: two tasks share it "
        f"(asyncio.gather, create_task, a task that outlives its request){otherwise}.",
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


def _within_session(failure: Failure) -> bool:
    """Whether the session itself has called the user's line, as it calls listeners of events: then it is one task."""
    # Its own frames: those of an exception that was raised while this one was handled stand before them.
    own = failure_of(failure.error) if failure.error else failure
    before = own.frames[: own.frames.index(own.users)] if own.users else ()
    return any(frame.within("sqlalchemy/orm/session.py", "sqlalchemy/event/attr.py") for frame in before)
