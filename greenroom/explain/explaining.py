"""Asks the recognisers about an exception and those behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from greenroom.diagnosis.exceptions import Raised, chain
from greenroom.diagnosis.explanation import Explanation
from greenroom.explain import recognisers as _registered  # noqa: F401
from greenroom.explain.failure import Failure, failure_of
from greenroom.explain.registry import RECOGNISERS

LOADS: Final = frozenset({"deferred-column", "detached-instance", "expired-attribute", "lazy-load"})
"""The sections of errors that are lazy loads which failed."""


def explain(exception: BaseException, loop: object = None) -> Explanation | None:
    """Why an exception was raised, in terms of the code that it passed through.

    Args:
        exception: A live exception, with its traceback. Those that it was raised from are looked at, too.
        loop: The event loop that it was raised on, if that is known: the frames do not tell it of one that was caught.

    Returns:
        The explanation, or None: it is none of the errors that are known here.
    """
    explanation = first_explained(replace(each, loop=loop) for each in _failures(exception))
    if explanation is None or explanation.earlier is None:
        return explanation
    earlier = explain(explanation.earlier)
    said = f"\nThat one: {earlier.title}." if earlier else ""
    return replace(explanation, what=explanation.what + said, earlier=None)


def report_swallowed(request: str, error: BaseException) -> str:
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


def explain_caught(errors: Iterable[Raised]) -> list[tuple[Raised, Explanation]]:
    """The errors that are known among those that an application has caught, the first one first and none twice.

    One that came to no line of the user's own is left out: pydantic reads an attribute and raises an error of its own.

    Args:
        errors: In the order in which they were raised.
    """
    found: list[tuple[Raised, Explanation]] = []
    for raised in errors:
        explanation = explain(raised.restored(), raised.loop)
        if explanation and explanation.where and all(explanation != other for _, other in found):
            found.append((raised, explanation))
    return found


def report_caught(found: list[tuple[Raised, Explanation]]) -> str:
    """What is to be said of errors that the application has caught itself.

    The first is explained; those after it may follow from it.

    Args:
        found: As `explain_caught` returns it, with one error at least.
    """
    (first, explanation), *others = found
    caught = first.caught or "in a library's code"
    call = f"{first.call}: the" if first.call else "The"
    lines = [
        f"{call} application raised {type(first.error).__name__} at {explanation.where},",
        f"caught by the application {caught}, so that the test has seen a response only.",
        "",
        explanation.render(),
    ]
    if others:
        lines += ["", "It caught more after that, which may follow from it:", *map(said_briefly, others)]
    return "\n".join(lines)


def said_briefly(caught: tuple[Raised, Explanation]) -> str:
    """One error that the application has caught, in a line.

    Args:
        caught: One of what `explain_caught` returns.
    """
    raised, explanation = caught
    call = f" ({raised.call})" if raised.call else ""
    return f"  {explanation.where}: {explanation.title}{call}"


def first_explained(failures: Iterable[Failure]) -> Explanation | None:
    """The explanation of the outermost exception that has one, or else of a consequence.

    Args:
        failures: The exceptions of a chain, the outermost first.
    """
    known = list(failures)
    for consequence in (False, True):
        asked = [each for each in RECOGNISERS if each.consequence is consequence]
        for failure in known:
            for recogniser in asked:
                if explanation := recogniser(failure):
                    return explanation
    return None


def _failures(exception: BaseException) -> Iterator[Failure]:
    """The chain. What a library has wrapped passed through the frames of its wrapper, too."""
    outermost = failure_of(exception)
    yield outermost
    for error in chain(exception, expected=False):
        if error is not exception:
            failure = failure_of(error)
            yield replace(failure, frames=outermost.frames + failure.frames)
