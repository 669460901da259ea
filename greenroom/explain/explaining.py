"""The recognisers, and the one function that asks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from greenroom.explain import greenlets
from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Failure, chain, failure_of

Recogniser = Callable[[Failure], Explanation | None]
"""Takes one exception of a chain. Returns None unless it is certain."""

RECOGNISERS: Final[tuple[Recogniser, ...]] = (greenlets.missing_greenlet,)


def explain(exception: BaseException) -> Explanation | None:
    """Why an exception was raised, in terms of the code that it passed through.

    Args:
        exception: A live exception, with its traceback. Those that it was raised from are looked at, too.

    Returns:
        The explanation, or None: it is none of the errors that are known here.
    """
    return first_explained(_failures(exception))


def first_explained(failures: Iterable[Failure]) -> Explanation | None:
    """The explanation of the outermost exception that has one.

    Args:
        failures: The exceptions of a chain, the outermost first.
    """
    for failure in failures:
        for recogniser in RECOGNISERS:
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
