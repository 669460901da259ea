"""Bringing a database back to the template's state after a test, in one round trip; see `prepare` for how."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from greenroom.database.prepare import CONNECTION_CHANGED
from greenroom.errors import LeftoverError, RewindError
from greenroom.urls import conninfo

if TYPE_CHECKING:
    from sqlalchemy import URL

PATIENCE: Final = 1.0
"""Seconds that a transaction of the application may still take after the test has ended."""

_VACUUM_EVERY: Final = 100
"""Rewinds between two VACUUMs of what they touched. Emptied tables keep their dead rows until then."""


@dataclasses.dataclass(frozen=True)
class Rewound:
    """What a rewind found.

    Attributes:
        tables: How many tables had been written to.
        beyond: Something was changed that a rewind cannot undo, such as the schema, and nothing was rewound: the
            database must be cloned afresh.
        connections: A connection keeps something for the next test, such as a temporary table, and should be closed.
    """

    tables: int
    beyond: bool
    connections: bool


class Rewinder:
    """Rewinds one database, over one connection that it keeps.

    Args:
        url: The database, as the admin.
    """

    def __init__(self, url: URL) -> None:
        self._connection = psycopg.connect(
            conninfo(url),
            autocommit=True,
            application_name="greenroom rewind",
            # Foreign keys and triggers do not fire, and what this connection deletes is not noted.
            options="-c session_replication_role=replica -c greenroom.rewinding=1 -c lock_timeout=5s",
            prepare_threshold=0,
        )
        self._since_vacuum = 0
        self._touched: set[int] = set()
        self._surroundings = self._connection.execute("SELECT greenroom.surroundings()").fetchone()

    def rewind(self) -> Rewound:
        """Bring the database back to the template's state.

        Raises:
            LeftoverError: A connection was in a transaction, which was ended after `PATIENCE` seconds. The database
                is rewound all the same.
            RewindError: The database could not be rewound.
        """
        end = time.monotonic() + PATIENCE
        ended: list[dict[str, Any]] = []
        while True:
            dirty, beyond, leftovers = self._call()
            if leftovers is None:
                break
            if time.monotonic() > end:
                ended += [left for left in leftovers if _who(left) not in map(_who, ended)]
                self._end(leftovers)
                if time.monotonic() > end + PATIENCE:
                    raise RewindError(
                        f"Connections that a test left open do not end: {_described(leftovers)}."
                    )
            time.sleep(0.005)
        if not beyond:
            self._vacuum_now_and_then(dirty)
        if ended:
            raise LeftoverError(_leftover_message(ended), hint=_LEFTOVER_HINT)
        return Rewound(tables=len(dirty), beyond=beyond, connections=CONNECTION_CHANGED in dirty)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(self) -> tuple[list[int], bool, list[dict[str, Any]] | None]:
        try:
            row = self._connection.execute(
                "SELECT dirty, beyond, leftovers FROM greenroom.rewind(%s)", self._surroundings
            ).fetchone()
        except psycopg.Error as error:
            raise RewindError(
                f"The database could not be rewound: {' '.join(str(error).split())}."
            ) from error
        assert row is not None
        return row[0] or [], bool(row[1]), row[2]

    def _end(self, leftovers: list[dict[str, Any]]) -> None:
        for left in leftovers:
            if "gid" in left:
                self._connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(left["gid"]))
            else:
                self._connection.execute("SELECT pg_terminate_backend(%s)", [left["pid"]])

    def _vacuum_now_and_then(self, dirty: list[int]) -> None:
        self._touched.update(dirty)
        self._since_vacuum += 1
        if self._since_vacuum >= _VACUUM_EVERY:
            rows = self._connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE oid = ANY (%s) AND relkind = 'r'",
                [list(self._touched)],
            ).fetchall()
            self._connection.execute(
                f"VACUUM {', '.join(['greenroom.touched', *(name for (name,) in rows)])}"
            )
            self._since_vacuum = 0
            self._touched.clear()


_LEFTOVER_HINT: Final = "close the session or end the transaction: `async with session_factory() as session`, `await session.commit()`"


def _leftover_message(leftovers: list[dict[str, Any]]) -> str:
    """What was left, what it usually means, and what was done about it, in three sentences."""
    return (
        f"The test left a transaction open, or a lock held: {_described(leftovers)}. Usually that is a session of the "
        f"application or of the test that was neither committed, rolled back nor closed, or a task that still runs. It "
        f"was ended, and what it had not committed is gone."
    )


def _who(left: dict[str, Any]) -> object:
    return left.get("pid") or left["gid"]


def _described(leftovers: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{left['state']}{', holding ' + left['holds'] if left.get('holds') else ''} for {left['age']:.1f} s, last statement {' '.join(left['query'].split())[:200]!r}"
        for left in leftovers
    )
