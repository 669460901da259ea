"""Rewind a database in one round trip."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from greenroom.connection import ANSWER, connect
from greenroom.database.admin import UNHURRIED
from greenroom.database.rewind.baselines import Baselines
from greenroom.database.rewind.statements import TEXT, statement
from greenroom.errors import LeftoverError, RewindError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import URL

PATIENCE: Final = 1.0
"""Seconds that a transaction of the application may still take after the test has ended."""

_STATEMENT: Final = b"greenroom_rewind"

_VACUUM_EVERY: Final = 100
"""Rewinds between two VACUUMs of what they touched. Emptied tables keep their dead rows until then."""


@dataclasses.dataclass(frozen=True)
class Rewound:
    """What a rewind found.

    Attributes:
        beyond: Something was changed that a rewind cannot undo, such as the schema, and nothing was rewound: the
            database must be cloned afresh.
        connections: A connection keeps something for the next test, such as a temporary table, and should be closed.
        vacuum: It deleted so many rows that their space should be reclaimed soon.
    """

    beyond: bool = False
    connections: bool = False
    vacuum: bool = False


class Rewinder:
    """Rewinds one database, over one connection that it keeps.

    Args:
        url: The database, as the admin.
        timeout: Seconds for a rewind; 0 for no end.

    Attributes:
        baselines: What it rewinds to, above the template's rows.
    """

    def __init__(self, url: URL, *, timeout: float = ANSWER) -> None:
        self._connection = connect(
            url,
            answer=timeout,
            autocommit=True,
            application_name="greenroom rewind",
            # Foreign keys and triggers do not fire, and what this connection deletes is not noted. Each statement is planned
            # once: the server would plan some each time, which takes longer than what the better plan saves.
            options=f"-c session_replication_role=replica -c greenroom.rewinding=1 -c lock_timeout=5s"
            f" -c plan_cache_mode=force_generic_plan {UNHURRIED} {TEXT}",
        )
        # Else psycopg prepares statements of its own, and after a DROP it deallocates all, ours included.
        self._connection.prepare_threshold = None
        self.baselines = Baselines(self._connection)
        row = self._connection.execute(
            "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        self._oid: int = row[0]
        self._surroundings = self._look_around()
        # Straight to libpq: a cursor's conveniences take longer than the server does.
        self._connection.pgconn.prepare(_STATEMENT, b"SELECT greenroom.rewind($1, $2)")
        self._since_vacuum = 0

    def rewind(self) -> Rewound:
        """Bring the database back to the template's state.

        Raises:
            LeftoverError: A connection was in a transaction, which was ended after `PATIENCE` seconds. The database
                is rewound all the same, unless the error says that it was changed beyond that.
            RewindError: The database could not be rewound.
            ServerError: The server does not answer.
        """
        end = time.monotonic() + PATIENCE
        ended: dict[object, dict[str, Any]] = {}
        while leftovers := (found := self._call()).pop("leftovers", None):
            if time.monotonic() > end:
                ended.update((left.get("pid") or left["gid"], left) for left in leftovers)
                self._end(leftovers)
                if time.monotonic() > end + PATIENCE:
                    raise RewindError(
                        f"Connections that a test left open do not end: {_described(leftovers)}."
                    )
            time.sleep(0.005)  # until it is asked again: what is about to end takes a moment
        rewound = Rewound(**found)
        if not rewound.beyond:
            self._vacuum_now_and_then(now=rewound.vacuum)
        if ended:
            error = LeftoverError(_leftover_message(list(ended.values())), hint=_LEFTOVER_HINT)
            error.beyond = rewound.beyond
            raise error
        return rewound

    def absorb(self, depth: int) -> bool:
        """Make what was written since the last rewind a part of the baseline at a depth; see `Baselines.absorb`."""
        before, self._surroundings = self._surroundings, self._look_around()
        return self.baselines.absorb(depth, schema=before != self._surroundings)

    def in_transaction(self) -> set[int]:
        """The pids of the connections that are in a transaction."""
        return {
            pid
            for (pid,) in self._connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND state LIKE 'idle in transaction%'"
            )
        }

    def accept_transactions(self, pids: Iterable[int]) -> None:
        """Take the transactions of these connections for granted, and those of no other any more."""
        self._connection.execute("SELECT set_config('greenroom.held', %s::int[]::text, false)", [list(pids)])

    def touched(self) -> int:
        """How many tables were written to since the last rewind, in transactions that have ended."""
        row = self._connection.execute("SELECT count(DISTINCT relation) FROM greenroom.touched").fetchone()
        return row[0] if row else 0

    def others(self) -> bool:
        """Whether anybody else is connected to the database."""
        row = self._connection.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend')"
        ).fetchone()
        return bool(row and row[0])

    def accept_locks(self) -> None:
        """Take the advisory locks that connections hold now for granted: the application keeps them on purpose."""
        self._connection.execute(
            "SELECT set_config('greenroom.holders', array_agg(pid)::text, false) FROM pg_lock_status()"
            " WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _look_around(self) -> bytes:
        row = self._connection.execute(statement("surroundings").format(here=self._oid)).fetchone()
        assert row is not None
        surroundings: str = row[0]
        return surroundings.encode()

    def _call(self) -> dict[str, Any]:
        """What the function on the server has to say; nothing after nearly every test."""
        with self._connection.bounded():
            result = self._connection.pgconn.exec_prepared(
                _STATEMENT, [self._surroundings, b"%d" % self._oid]
            )
        if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise RewindError(
                f"The database could not be rewound: {' '.join(result.get_error_message().split())}."
            )
        said = result.get_value(0, 0)
        return json.loads(said) if said else {}

    def _end(self, leftovers: list[dict[str, Any]]) -> None:
        for left in leftovers:
            if "gid" in left:
                self._connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(left["gid"]))
            else:
                self._connection.execute("SELECT pg_terminate_backend(%s)", [left["pid"]])

    def _vacuum_now_and_then(self, *, now: bool) -> None:
        self._since_vacuum += 1
        if self._since_vacuum < _VACUUM_EVERY and not now:
            return
        self._since_vacuum = 0
        rows = self._connection.execute(
            "SELECT relid::regclass::text FROM pg_stat_user_tables WHERE n_dead_tup > 0"
        )
        tables = {"greenroom.touched"} | {name for (name,) in rows}
        self._connection.execute(f"VACUUM {', '.join(sorted(tables))}")


_LEFTOVER_HINT: Final = "close the session or end the transaction: `async with session_factory() as session`, `await session.commit()`"


def _leftover_message(leftovers: list[dict[str, Any]]) -> str:
    """What was left, what it usually means, and what was done about it, in three sentences."""
    return (
        f"The test left a transaction open, or a lock held: {_described(leftovers)}. Usually that is a session of the "
        f"application or of the test that was neither committed, rolled back nor closed, or a task that still runs. It "
        f"was ended, and what it had not committed is gone."
    )


def _described(leftovers: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{left['state']}{', holding ' + left['holds'] if left.get('holds') else ''} for {left['age']:.1f} s, last statement {' '.join(left['query'].split())[:200]!r}"
        for left in leftovers
    )
