"""Shards: the parts of a suite that run in separate jobs, and whose reports are merged afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Final, Self

from greenroom import hints
from greenroom.errors import ReportsError
from greenroom.record import FOLDER

DURATIONS: Final = "tests/durations.json"
"""How long each test takes, as recorded by `greenroom ci --store-durations`. The suite is divided by it."""

_SHARD: Final = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")
_NAME: Final = re.compile(r"shard-([0-9]+)-of-([0-9]+)")


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
    """The part `number` of `count`, the first of which is 1."""

    count: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a shard such as `2/4`.

        Raises:
            ValueError: There is no such shard, with a message for that person.
        """
        match = _SHARD.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError(f"A shard must be I/N with 1 ≤ I ≤ N, such as 2/4. Found: {text!r}.")
        return cls(number=int(match[1]), count=int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def folder(self) -> str:
        """The name of its folder in reports/."""
        return f"shard-{self.number}-of-{self.count}"

    def options(self, durations: str) -> list[str]:
        """The options that make pytest run only this part.

        Args:
            durations: The file with the time that each test takes; without it, all take the same.
        """
        return [
            "-p", "greenroom.ci.order",
            f"--splits={self.count}",
            f"--group={self.number}",
            f"--durations-path={durations}",
            "--splitting-algorithm=least_duration",
        ]  # fmt: skip


def broken(file: Path) -> str | None:
    """Why the suite cannot be divided by a file of durations, or None if it can, or if there is no such file."""
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return str(error)
    if not isinstance(recorded, dict):
        return "it is no object"
    for test, seconds in recorded.items():
        if type(seconds) not in {int, float} or not 0 <= seconds < math.inf:
            return f"{test} takes {seconds!r}, which is no number of seconds"
    return None


def found(reports: Path) -> dict[Shard, Path]:
    """The folders of all shards of one suite, in their order.

    Raises:
        ReportsError: There are none, some are missing, or there are those of different suites.
    """
    folders = {}
    for folder in reports.glob("shard-*-of-*"):
        if match := _NAME.fullmatch(folder.name):
            folders[Shard(number=int(match[1]), count=int(match[2]))] = folder
    if not folders:
        raise ReportsError(
            f"There are no shards to merge: {FOLDER}/ contains no folder such as shard-1-of-2.",
            hint=hints.typed("greenroom ci --shard 1/2"),
        )
    counts = sorted({shard.count for shard in folders})
    if len(counts) > 1:
        listed = ", ".join(folder.name for _, folder in sorted(folders.items()))
        raise ReportsError(
            f"The shards in {FOLDER}/ must belong to one suite. Found: {listed}.",
            hint=f"remove the shards of the other suite, for example: rm -r {FOLDER}/shard-*-of-{counts[0]}",
        )
    (count,) = counts
    whole = [Shard(number=number, count=count) for number in range(1, count + 1)]
    if missing := [str(shard) for shard in whole if shard not in folders]:
        raise ReportsError(
            f"{len(missing)} of {count} shards are missing in {FOLDER}/: {', '.join(missing)}.",
            hint=f"{hints.typed(f'greenroom ci --shard {missing[0]}')}, or download that job's artifact",
        )
    return {shard: folders[shard] for shard in whole}
