"""The recognisers, and the one function that asks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from greenroom.explain import (
    coroutines,
    generators,
    greenlets,
    installation,
    lifespans,
    loops,
    pools,
    serialising,
    sessions,
    tasks,
)
from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Failure, chain, failure_of

Recogniser = Callable[[Failure], Explanation | None]
"""Takes one exception of a chain. Returns None unless it is certain."""

RECOGNISERS: Final[tuple[Recogniser, ...]] = (
    greenlets.missing_greenlet,
    serialising.hidden_by_pydantic,
    installation.no_greenlet,
    installation.asynchronous_engine,
    loops.different_loop,
    loops.bound_to_a_loop,
    loops.running_already,
    tasks.connecting,
    sessions.detached,
    sessions.pending_rollback,
    sessions.failed_transaction,
    sessions.closed,
    pools.exhausted,
    pools.collected,
    lifespans.never_entered,
    coroutines.used_unawaited,
    coroutines.asserted,
    coroutines.never_awaited,
    coroutines.test_not_run,
    coroutines.fixture_not_run,
    generators.used,
)

CONSEQUENCES: Final[tuple[Recogniser, ...]] = (loops.busy, tasks.in_progress)
"""Asked when no exception of the chain is one of those: what they explain follows from one of them as a rule."""


def explain(exception: BaseException) -> Explanation | None:
    """Why an exception was raised, in terms of the code that it passed through.

    Args:
        exception: A live exception, with its traceback. Those that it was raised from are looked at, too.

    Returns:
        The explanation, or None: it is none of the errors that are known here.
    """
    return first_explained(_failures(exception))


def told(request: str, error: BaseException) -> str:
    """What is to be said of an exception of the application that a client did not raise.

    Args:
        request: Its method and path.
        error: The exception.
    """
    failure = failure_of(error)
    explanation = explain(error)
    where = f" at {failure.where}" if failure.where else ""
    lines = [
        f"{request}: the application raised {failure.kinds[0]}{where}, and the client did not raise it in the test",
        "(raise_server_exceptions=False).",
        "",
        explanation.render() if explanation else f"{failure.kinds[0]}: {failure.message}",
    ]
    return "\n".join(lines)


def first_explained(failures: Iterable[Failure]) -> Explanation | None:
    """The explanation of the outermost exception that has one.

    Args:
        failures: The exceptions of a chain, the outermost first.
    """
    known = list(failures)
    for recognisers in (RECOGNISERS, CONSEQUENCES):
        for failure in known:
            for recogniser in recognisers:
                explanation = recogniser(failure)
                if explanation is not None:
                    return explanation
    return None


def _failures(exception: BaseException) -> Iterator[Failure]:
    """The chain. What a library has wrapped passed through the frames of its wrapper, too."""
    outermost = failure_of(exception)
    yield outermost
    for error in chain(exception):
        if error is not exception:
            failure = failure_of(error)
            yield replace(failure, frames=outermost.frames + failure.frames)
