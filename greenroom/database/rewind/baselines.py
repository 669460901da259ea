"""Baselines: what fixtures of wider scope have written is what a test begins with, and what is rewound to.

They are a stack, as the scopes are: of the session, of a package, a module, a class. A baseline is a copy of each table that
was written to in its scope, beside the template's copy and the other baselines'. The rewind goes to the highest copy of each
table. When the scope ends, its copies are dropped, and the next rewind brings these tables to what is beneath.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.rows import dict_row

from greenroom.database.rewind.prepare import changed_sequences, enrol, install
from greenroom.database.rewind.restoration import copy_rows, seed
from greenroom.database.rewind.statements import statement

if TYPE_CHECKING:
    import psycopg

ASIDE: Final = 1000
"""The depth of what a test has written before a fixture of wider scope is set up in its middle. It is above all others."""

_SCHEMA: Final = 0
"""Noted, with the oids of tables, for a change of the schema."""


@dataclasses.dataclass
class Baseline:
    """One of the stack.

    Attributes:
        tables: The oids of the tables that it has copies of.
        schema: The schema was changed in it, which can be undone by a fresh clone only.
    """

    tables: set[int] = dataclasses.field(default_factory=set)
    schema: bool = False


Saved = list[tuple[int, dict[int, bytes], bytes]]
"""The contents of all baselines from the lowest: depth, rows by table, sequences beneath. The last is that of now, without rows."""


class Baselines:
    """The baselines of one database.

    Args:
        connection: To the database, as the admin, with the settings of `Rewinder`.

    Attributes:
        stack: The baselines by depth.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.stack: dict[int, Baseline] = {}

    def absorb(self, depth: int, *, schema: bool = False) -> bool:
        """Make all that was written since the last rewind, or the last baseline, a part of the baseline at a depth.

        Baselines above it, of narrower scopes, get the same changes.

        Args:
            depth: Of the scope; the session's is the least.
            schema: It was changed, though no trigger has seen it.

        Returns:
            Whether anything was written.
        """
        with self._connection.transaction():
            noted = {oid for (oid,) in self._connection.execute(statement("noted"))}
            changed = schema or _SCHEMA in noted
            if not (noted or schema) and not self._sequences_moved():
                return False
            self._begin(depth)
            if changed:
                self._copy_everything(depth)
            else:
                for row in self._tables():
                    if row["holds_rows"] and not noted.isdisjoint(row["named_by"]):
                        self._copy(row, depth)
                self._accept_sequences(depth)
            install(self._connection)
        return True

    def drop(self, depth: int) -> bool:
        """Drop the baselines from a depth upwards: the next rewind goes to what is beneath. Returns whether there were any."""
        over = [each for each in self.stack if each >= depth]
        if not over:
            return False
        with self._connection.transaction():
            for each in over:
                baseline = self.stack.pop(each)
                noted = {_SCHEMA} if baseline.schema else baseline.tables
                self._connection.execute(
                    "INSERT INTO greenroom.touched SELECT unnest(%s::bigint[])::oid", [list(noted)]
                )
                for oid in baseline.tables:
                    self._connection.execute(sql.SQL("DROP TABLE {}").format(seed(oid, each)))
            self._connection.execute("DELETE FROM greenroom.sequences")
            self._connection.execute(
                sql.SQL("INSERT INTO greenroom.sequences TABLE {}").format(_beneath(min(over)))
            )
            for each in over:
                self._connection.execute(sql.SQL("DROP TABLE {}").format(_beneath(each)))
            install(self._connection)
        return True

    def saved(self) -> Saved | None:
        """The contents of all baselines, for `restore`; None if the schema was changed in one."""
        if any(each.schema for each in self.stack.values()):
            return None
        found: Saved = []
        for depth, baseline in sorted(self.stack.items()):
            rows = {oid: self._out(seed(oid, depth)) for oid in baseline.tables}
            found.append((depth, rows, self._out(_beneath(depth))))
        if found:
            found.append((ASIDE, {}, self._out(_SEQUENCES)))
        return found

    def restore(self, saved: Saved) -> None:
        """Make the baselines of `saved` in a fresh clone. The next rewind brings their rows."""
        with self._connection.transaction():
            tables = {row["oid"]: row for row in self._tables()}
            for depth, rows, sequences in saved[:-1]:
                self._begin(depth)
                self._in(_beneath(depth), sequences)
                for oid, content in rows.items():
                    copy_rows(self._connection, tables[oid], depth, rows=False)
                    self._in(seed(oid, depth), content)
                    self._connection.execute("INSERT INTO greenroom.touched VALUES (%s)", [oid])
                self.stack[depth].tables = set(rows)
            self._in(_SEQUENCES, saved[-1][2])
            install(self._connection)

    # -- tables ------------------------------------------------------------------------------------------------------

    def _tables(self) -> list[dict[str, Any]]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement("tables")).fetchall()

    def _begin(self, depth: int) -> None:
        """Begin a baseline, unless there is one, with the sequences as they are beneath it."""
        if depth in self.stack:
            return
        above = [each for each in self.stack if each > depth]
        source = _beneath(min(above)) if above else _SEQUENCES
        self._connection.execute(
            sql.SQL("CREATE UNLOGGED TABLE {} AS TABLE {}").format(_beneath(depth), source)
        )
        self.stack[depth] = Baseline()

    def _copy(self, row: dict[str, Any], depth: int) -> None:
        """Copy a table's rows to a baseline, or, where one above it has them, only what is new."""
        oid = row["oid"]
        mine = self.stack[depth].tables
        above = [each for each, found in self.stack.items() if each > depth and oid in found.tables]
        if not above:
            if oid in mine:
                self._connection.execute(sql.SQL("DROP TABLE {}").format(seed(oid, depth)))
            copy_rows(self._connection, row, depth)
        else:
            copy_rows(self._connection, row, _NOW)
            if oid not in mine:
                under = max(
                    (each for each, found in self.stack.items() if each < depth and oid in found.tables),
                    default=0,
                )
                copy_rows(self._connection, row, depth, rows=False)
                self._insert_if_there(seed(oid, depth), seed(oid, under))
            self._connection.execute(
                statement("differences").format(now=seed(oid, _NOW), before=seed(oid, max(above)))
            )
            for each in (depth, *above):
                self._connection.execute(statement("apply_differences").format(seed=seed(oid, each)))
            self._connection.execute(
                sql.SQL("DROP TABLE pg_temp.greenroom_added, pg_temp.greenroom_gone, {}").format(
                    seed(oid, _NOW)
                )
            )
        mine.add(oid)

    def _copy_everything(self, depth: int) -> None:
        """After a change of the schema: copy each table, and take what is above into this baseline."""
        for each in [each for each in self.stack if each >= depth]:
            for oid in self.stack[each].tables:
                self._connection.execute(sql.SQL("DROP TABLE {}").format(seed(oid, each)))
            if each > depth:
                del self.stack[each]
                self._connection.execute(sql.SQL("DROP TABLE {}").format(_beneath(each)))
        rows = enrol(self._connection)
        for row in rows:
            copy_rows(self._connection, row, depth)
        self.stack[depth] = Baseline({row["oid"] for row in rows}, schema=True)

    def _insert_if_there(self, into: sql.Identifier, source: sql.Identifier) -> None:
        found = self._connection.execute(
            "SELECT to_regclass(%s)", [source.as_string(self._connection)]
        ).fetchone()
        if found and found[0]:
            self._connection.execute(sql.SQL("INSERT INTO {} TABLE {}").format(into, source))

    # -- sequences ---------------------------------------------------------------------------------------------------

    def _moved(self) -> list[tuple[int, int, bool]]:
        """Each sequence that is not as the rewind leaves it, and how it is."""
        moved = []
        for oid, value, called, *_ in self._connection.execute(
            changed_sequences(self._connection)
        ).fetchall():
            name = self._connection.execute("SELECT %s::regclass::text", [oid]).fetchone()
            assert name is not None
            now = self._connection.execute(
                sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(name[0]))
            ).fetchone()
            if now is not None and now != (value, called):
                moved.append((oid, *now))
        return moved

    def _sequences_moved(self) -> bool:
        return bool(self._moved())

    def _accept_sequences(self, depth: int) -> None:
        places = [_SEQUENCES, *(_beneath(each) for each in self.stack if each > depth)]
        for oid, value, called in self._moved():
            for place in places:
                self._connection.execute(
                    sql.SQL("UPDATE {} SET last_value = {}, is_called = {} WHERE sequence = {}").format(
                        place, value, called, oid
                    )
                )

    # -- contents ----------------------------------------------------------------------------------------------------

    def _out(self, table: sql.Identifier) -> bytes:
        with self._connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(table)) as copy:
            return b"".join(bytes(piece) for piece in copy)

    def _in(self, table: sql.Identifier, content: bytes) -> None:
        self._connection.execute(sql.SQL("DELETE FROM {}").format(table))
        with self._connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as copy:
            copy.write(content)


_NOW: Final = ASIDE + 1
"""The depth of a copy that is compared and dropped again."""

_SEQUENCES: Final = sql.Identifier("greenroom", "sequences")


def _beneath(depth: int) -> sql.Identifier:
    """The table with the state that the sequences had before a baseline."""
    return sql.Identifier("greenroom", f"sequences_{depth}")
