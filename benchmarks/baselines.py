"""What rows that wider fixtures have written cost each test: a rewind above baselines of several sizes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from sqlalchemy import URL

from benchmarks.measure import Measured, side_by_side
from benchmarks.resets import Place, insert, statements
from greenroom.database.rewind.prepare import prepare
from greenroom.database.rewind.rewinder import Rewinder

ROWS = (0, 10, 100, 1000)
"""How many rows a fixture of the session has written to each of the tables that a test writes to."""

TOUCHED = 3


def measure(admin: URL, *, seconds: float) -> dict[str, Measured]:
    """The time of a rewind, by the rows of the baseline.

    Args:
        admin: The server's maintenance database, as a superuser.
        seconds: How long each size may take.
    """
    with contextlib.ExitStack() as stack:
        contenders = {}
        for rows in ROWS:
            place = Place(admin, f"baseline_{rows}")
            place.on_server(f"CREATE DATABASE {place.name}")
            stack.callback(place.on_server, f"DROP DATABASE {place.name} WITH (FORCE)")
            contenders[_named(rows)] = _contender(place, rows, stack)
        return side_by_side(contenders, seconds=seconds)


def _named(rows: int) -> str:
    return f"{rows} rows in each" if rows else "no baseline"


def _contender(place: Place, rows: int, stack: contextlib.ExitStack) -> Callable[[], float]:
    connection = stack.enter_context(place.connect())
    connection.execute(statements(20))
    prepare(place.url)
    rewinder = Rewinder(place.url)
    stack.callback(rewinder.close)
    for number in range(TOUCHED if rows else 0):
        connection.execute(f"INSERT INTO t{number} (name) SELECT 'a name' FROM generate_series(1, {rows})")
    rewinder.absorb(1)

    def once() -> float:
        with connection.transaction():
            for number in range(TOUCHED):
                connection.execute(insert(number))
        start = time.perf_counter()
        rewinder.rewind()
        return time.perf_counter() - start

    return once
