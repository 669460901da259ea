"""Pooled connections that are not given back."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from greenroom.explain.explanation import Explanation
from greenroom.explain.places import engine_name

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure


def exhausted(failure: Failure) -> Explanation | None:
    """`QueuePool limit … reached`: all connections are held, and nobody gave one back in time."""
    found = re.match(
        r"QueuePool limit of size (\d+) overflow (-?\d+) reached, connection timed out, timeout ([\d.]+)",
        failure.message,
    )
    if not failure.of("sqlalchemy.exc.TimeoutError") or not found:
        return None
    number = int(found[1]) + int(found[2])
    holders = _holders(failure, waited=float(found[3]))
    held = "\nThey were held by:\n" + "\n".join(f"  {holder}" for holder in holders) if holders else ""
    return Explanation(
        f"TimeoutError: {'the only connection' if number == 1 else f'all {number} connections'} of the pool "
        f"{'is' if number == 1 else 'are'} in use",
        f"`{failure.call}` waited {float(found[3]):g} s for a connection of "
        f"{engine_name(failure) or 'the engine'}, and none was given back.{held}",
        "A session takes a connection with its first statement and keeps it until commit(), rollback() or close(). One that is not "
        "closed keeps it for ever; one that waits for another session in the same task waits for itself.",
        [
            (
                "close each session, which a block does in every case:",
                "async with new_session() as session:\n    …",
            ),
            (
                "or end the transaction before something slow, or another session:",
                "await session.commit()  # gives the connection back\nawait something_slow()",
            ),
        ],
        "docs/faq.md#queuepool-limit",
        failure.where,
    )


def collected(failure: Failure) -> Explanation | None:
    """`The garbage collector is trying to clean up non-checked-in connection`."""
    # Python prints a warning's class without its module.
    printed = failure.error is None and failure.of("SAWarning")
    if not (printed or failure.of("sqlalchemy.exc.SAWarning")) or not failure.message.startswith(
        "The garbage collector is trying to clean up non-checked-in connection"
    ):
        return None
    return Explanation(
        "SAWarning: a session or connection was forgotten instead of closed",
        "Python's garbage collector found a pooled connection that nobody has given back. Where it was taken is not known "
        "any more; the last lines that opened a session or connection without `async with` are the ones to look at.",
        "Closing an asynchronous connection must be awaited, and the garbage collector cannot do that: it drops the connection, "
        "with whatever transaction is open on it.",
        [
            ("open it in a block:", "async with new_session() as session:\n    …"),
            ("or close it in every case:", "try:\n    …\nfinally:\n    await session.close()"),
        ],
        "docs/faq.md#garbage-collector",
    )


def _holders(failure: Failure, waited: float) -> list[Any]:
    """Who held the connections, if somebody has watched them."""
    from sqlalchemy.pool import Pool

    watch: Any = sys.modules.get("greenroom.watch")
    pool = next(failure.found(Pool), None)
    if pool is None or watch is None:
        return []
    return list(watch.holders(pool, waited=waited))
