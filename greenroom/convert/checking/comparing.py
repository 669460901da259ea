"""The outcomes of two runs of a suite, compared test by test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from greenroom.convert.checking.outcomes import ERROR, FAILED, PASSED, SKIPPED, XFAILED, XPASSED

MISSING: Final = "missing"
"""What a test is called that does not run at all."""

_RANKS: Final = {PASSED: 0, XPASSED: 0, SKIPPED: 1, XFAILED: 1, FAILED: 2, ERROR: 2, MISSING: 3}
"""A test is worse if its outcome is one of a higher rank."""

_BACKENDS: Final = ("asyncio", "asyncio+uvloop")
"""How anyio names its backends in the names of tests."""

Outcomes = Mapping[str, tuple[str, str]]
"""By test, the outcome and the reason."""


@dataclass(frozen=True)
class Difference:
    """A test that has another outcome.

    Attributes:
        test: Its name, before.
        before: Its outcome before.
        after: Its outcome after.
        reason: Why it is that one.
    """

    test: str
    before: str
    after: str
    reason: str

    @property
    def worse(self) -> bool:
        """Whether something is lost."""
        if self.before == MISSING:
            return _RANKS[self.after] >= _RANKS[FAILED]
        return _RANKS[self.after] > _RANKS[self.before]

    def __str__(self) -> str:
        """`test_it.py::test_one: passed before, failed after: AssertionError`."""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.test}: {self.before} before, {self.after} after{reason}"


def counted(outcomes: Outcomes) -> str:
    """`12 passed, 1 failed`."""
    counts = Counter(outcome for outcome, _ in outcomes.values())
    return ", ".join(f"{counts[each]} {each}" for each in _RANKS if counts[each])


def differences(before: Outcomes, after: Outcomes) -> list[Difference]:
    """The tests whose outcomes differ, what is worse first.

    A test may lose anyio's backend from its name, and its parameters may change their order there.
    """
    found = [each for pair in _pairs(before, after) for each in _compared(*pair, before, after)]
    return sorted(found, key=lambda each: (not each.worse, each.test))


def _pairs(before: Outcomes, after: Outcomes) -> Iterator[tuple[list[str], list[str]]]:
    """The names of each test in both runs."""
    left, right = list(before), list(after)
    for key in (_name, _sorted):
        one, two = _grouped(left, key), _grouped(right, key)
        both = [each for each in one if each in two]
        for each in both:
            yield one[each], two[each]
        left = [name for each in one if each not in two for name in one[each]]
        right = [name for each in two if each not in one for name in two[each]]
    yield from (([name], []) for name in left)
    yield from (([], [name]) for name in right)


def _compared(one: list[str], two: list[str], before: Outcomes, after: Outcomes) -> Iterator[Difference]:
    def rank(found: tuple[str, tuple[str, str]]) -> int:
        return _RANKS[found[1][0]]

    old = sorted(((each, before[each]) for each in one), key=rank)
    new = sorted(((each, after[each]) for each in two), key=rank)
    if len(old) != len(new):
        # One for each backend, and then one: what counts is the worst.
        old, new = old[-1:], new[-1:]
    old = old or [(name, (MISSING, "")) for name, _ in new]
    new = new or [(name, (MISSING, "")) for name, _ in old]
    for (name, (was, _)), (_, (becomes, reason)) in zip(old, new, strict=True):
        if was != becomes:
            yield Difference(name, was, becomes, reason)


def _grouped(names: list[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in names:
        found.setdefault(key(each), []).append(each)
    return found


def _parts(name: str) -> tuple[str, list[str]]:
    """A test's name without its parameters, and these, without a backend."""
    match = re.fullmatch(r"(.*?)\[(.*)\](.*)", name, re.DOTALL)
    if match is None:
        return name, []
    return match[1] + match[3], [each for each in match[2].split("-") if each not in _BACKENDS]


def _name(name: str) -> str:
    test, parameters = _parts(name)
    return f"{test}[{'-'.join(parameters)}]"


def _sorted(name: str) -> str:
    test, parameters = _parts(name)
    return f"{test}[{'-'.join(sorted(parameters))}]"
