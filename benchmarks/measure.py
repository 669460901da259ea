"""Measuring side by side: in rounds, one contender after the other, so that a slow moment of the machine hits them all."""

from __future__ import annotations

import dataclasses
import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

Contender = Callable[[], float]
"""Does the thing once and returns how long that part of it took that is measured, in seconds."""


@dataclasses.dataclass(frozen=True)
class Spread:
    """What was measured of one contender.

    Attributes:
        median: In seconds.
        low: The lower quartile, in seconds.
        high: The upper quartile, in seconds.
        count: How often it was measured.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """The spread of measurements; of a single one, that one."""
        if len(seconds) == 1:
            return cls(seconds[0], seconds[0], seconds[0], 1)
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))


@dataclasses.dataclass(frozen=True)
class Measured:
    """A contender's two spreads.

    Attributes:
        part: What the contender itself measured.
        whole: With all that it does besides, such as the writing before a reset.
    """

    part: Spread
    whole: Spread


def side_by_side(
    contenders: Mapping[str, Contender], *, seconds: float, most: int = 2000, least: int = 5
) -> dict[str, Measured]:
    """Measure each contender in turn, in a new order each round.

    A contender that takes long is measured less often: each gets about the same share of the time.

    Args:
        contenders: By name.
        seconds: How long each contender may take in all.
        most: Measurements of one contender at most.
        least: And at least, however long they take.

    Returns:
        The spread of each, in the given order. The first measurement of each is not counted: caches are filled by it.
    """
    parts: dict[str, list[float]] = {name: [] for name in contenders}
    wholes: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    names = list(contenders)
    gc.collect()
    gc.disable()  # whose garbage it is cannot be told
    try:
        while names:
            random.shuffle(names)
            for name in list(names):
                # The short ones several times in a row: what the others left in the processor's caches is not theirs.
                for _ in range(10 if _mean(wholes[name]) < _SHORT else 1):
                    start = time.perf_counter()
                    parts[name].append(contenders[name]())
                    wholes[name].append(time.perf_counter() - start)
                enough = len(parts[name]) >= least and sum(wholes[name]) >= seconds
                if enough or len(parts[name]) >= most:
                    names.remove(name)
    finally:
        gc.enable()
    return {name: Measured(Spread.of(parts[name]), Spread.of(wholes[name])) for name in contenders}


_SHORT: Final = 0.005
"""Seconds: what takes less is measured ten times in a row."""


def _mean(seconds: Sequence[float]) -> float:
    return sum(seconds) / len(seconds) if seconds else _SHORT
