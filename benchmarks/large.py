"""A suite of ten thousand tests that write to the database: does the last thousand take as long as the first, in time and memory?"""

from __future__ import annotations

import contextlib
import dataclasses

import psutil
from sqlalchemy import URL

from benchmarks import suites
from benchmarks.measure import Spread


@dataclasses.dataclass(frozen=True)
class Large:
    """What a run took.

    Attributes:
        seconds: The whole process.
        first: Seconds for each test of the first tenth.
        last: And of the last tenth.
        pytest: Bytes of pytest and its workers, after a hundred tests and at the end.
        server: Bytes of the server's processes, before the run and after it.
    """

    seconds: float
    first: Spread
    last: Spread
    pytest: tuple[int, int]
    server: tuple[int, int]


def measure(admin: URL, server: int, *, tests: int) -> dict[str, Large]:
    """Run the suite in one process, and with one and two workers; and as many tests that do nothing.

    Args:
        admin: The maintenance database of a server, as a superuser.
        server: The pid of its postmaster.
        tests: How many tests.
    """
    found = {}
    for name, suite, workers in (
        ("greenroom, one process", suites.GREENROOM, 0),
        ("greenroom, -n 1", suites.GREENROOM, 1),
        ("greenroom, -n 2", suites.GREENROOM, 2),
        # What pytest itself keeps of each test that it has run.
        ("pytest itself: empty tests, one process", suites.EMPTY, 0),
    ):
        before = resident(server)
        run = suites.run(suite, admin, tests=tests, workers=workers)
        tenth = len(run.test) // 10
        found[name] = Large(
            seconds=run.whole,
            first=Spread.of(run.test[:tenth]),
            last=Spread.of(run.test[-tenth:]),
            pytest=(run.memory["start"], run.memory["end"]),
            server=(before, resident(server)),
        )
    return found


def resident(pid: int) -> int:
    """Bytes of memory of a process and its descendants, each shared page in equal parts to those that share it."""
    total = 0
    process = psutil.Process(pid)
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a connection that has just ended
            total += one.memory_full_info().pss
    return total
