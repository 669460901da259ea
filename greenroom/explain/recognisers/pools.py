"""Pooled connections that are not given back."""

from __future__ import annotations

import sys
from typing import Any

from greenroom.diagnosis import fixes
from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.failure import Failure
from greenroom.explain.involved import engine_name
from greenroom.explain.registry import recogniser


@recogniser(
    "sqlalchemy.exc.TimeoutError",
    says=r"^QueuePool limit of size (\d+) overflow (-?\d+) reached, connection timed out, timeout ([\d.]+)",
    section="queuepool-limit",
)
def exhausted(failure: Failure) -> Explanation:
    """`QueuePool limit … reached`: all connections are held, and nobody gave one back in time."""
    number = int(failure.said[1]) + int(failure.said[2])
    waited = float(failure.said[3])
    in_use = (
        "the only connection of the pool is" if number == 1 else f"all {number} connections of the pool are"
    )
    holders = _holders(failure, waited)
    return Explanation(
        f"TimeoutError: {in_use} in use",
        f"{failure.quoted} waited {waited:g} s for a connection of {engine_name(failure) or 'the engine'}, and none was given back.",
        "A session takes a connection with its first statement and keeps it until commit(), rollback() or close(). One that is not "
        "closed keeps it for ever; one that waits for another session in the same task waits for itself.",
        [
            ("close each session, which a block does in every case:", fixes.BLOCK),
            (
                "or end the transaction before something slow, or another session:",
                "await session.commit()  # gives the connection back\nawait something_slow()",
            ),
        ],
        evidence="\n".join(["They were held by:", *(f"  {holder}" for holder in holders)]) if holders else "",
    )


# Python prints a warning's class without its module.
@recogniser(
    "sqlalchemy.exc.SAWarning",
    "SAWarning",
    # Up to SQLAlchemy 1.4 in other words.
    says="^The garbage collector is trying to clean up (?:non-checked-in )?connection",
    section="garbage-collector",
    says_where=True,
)
def collected(_failure: Failure) -> Explanation:
    """`The garbage collector is trying to clean up non-checked-in connection`."""
    return Explanation(
        "SAWarning: a session or connection was forgotten instead of closed",
        "Python's garbage collector found a pooled connection that nobody has given back. Where it was taken is not known "
        "any more; the last lines that opened a session or connection without `async with` are the ones to look at.",
        "Closing an asynchronous connection must be awaited, and the garbage collector cannot do that: it drops the connection, "
        "with whatever transaction is open on it.",
        [
            ("open it in a block:", fixes.BLOCK),
            ("or close it in every case:", "try:\n    …\nfinally:\n    await session.close()"),
        ],
    )


def _holders(failure: Failure, waited: float) -> list[Any]:
    """Who held the connections, if somebody has watched them."""
    from sqlalchemy.pool import Pool

    watch: Any = sys.modules.get("greenroom.watch")
    pool = next(failure.found(Pool), None)
    return list(watch.holders(pool, waited=waited)) if pool is not None and watch is not None else []
