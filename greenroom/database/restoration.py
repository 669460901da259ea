"""The copies of the seeds, and the statements of the rewind that bring one table back; see `prepare` for the whole."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

TEXT: Final = (
    "-c DateStyle=ISO -c TimeZone=GMT -c IntervalStyle=postgres -c bytea_output=hex -c extra_float_digits=1"
)
"""Options of each session that copies or compares values as text, so that it is the same text in each. A server knows GMT without files of time zones."""


def copy_rows(
    connection: psycopg.Connection[Any], table: sql.Identifier, row: dict[str, Any]
) -> sql.Identifier | None:
    """Copy a table's rows into the schema `greenroom`. The copy's name, or None if there are none.

    Values of the project's own types are copied as text: with a column of such a type, no test could drop the type.
    """
    if connection.execute(sql.SQL("SELECT FROM ONLY {} LIMIT 1").format(table)).fetchone() is None:
        return None
    seed = sql.Identifier("greenroom", f"seed_{row['oid']}")
    names = dict.fromkeys([*row["columns"], *row["key"]])
    values = [sql.SQL("{} AS {}").format(_stored(row, "found", name), sql.Identifier(name)) for name in names]
    connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {} FROM ONLY {} AS found").format(
            seed, sql.SQL(", ").join(values), table
        )
    )
    return seed


def _stored(row: dict[str, Any], alias: str, name: str) -> sql.Composed:
    """A column of the table as it is in the copy."""
    column = sql.SQL("{}").format(sql.Identifier(alias, name))
    return sql.SQL("{}::pg_catalog.text").format(column) if name in row["types"] else column


def _seeded(row: dict[str, Any], names: list[str]) -> sql.Composed:
    """Columns of the copy as they are in the table."""
    columns = [(sql.Identifier("seed", name), row["types"].get(name)) for name in names]
    return sql.SQL(", ").join(
        sql.SQL("{}::{}").format(column, sql.Identifier(*of)) if of else column for column, of in columns
    )


def restoration(table: sql.Identifier, row: dict[str, Any], seed: sql.Identifier | None) -> sql.Composed:
    """The statements of the rewind for one table: executed if it, or a table that it inherits from, was noted."""
    if seed is None:
        restore = sql.SQL(_EMPTY).format(table=table, counted=_COUNTED)
    else:
        restore = sql.SQL(_RESTORE_SEEDS if row["key"] else _REPLACE_ROWS).format(
            table=table,
            seed=seed,
            counted=_COUNTED,
            columns=_list("{}", row["columns"]),
            values=_seeded(row, row["columns"]),
            same_row=sql.SQL("ROW({})::record OPERATOR(pg_catalog.*=) ROW({})::record").format(
                sql.SQL(", ").join(_stored(row, "found", name) for name in row["columns"]),
                _list("seed.{}", row["columns"]),
            ),
            same_key=sql.SQL("({}) = ({})").format(_list("found.{}", row["key"]), _seeded(row, row["key"])),
        )
    return sql.SQL("        IF dirty && ARRAY[{}]::oid[] THEN {} END IF;\n").format(
        listed(row["named_by"]), restore
    )


_GROUP: Final = 20


def in_groups(statements: list[tuple[list[int], sql.Composed]]) -> sql.Composed:
    """The restorations of all tables, behind one condition for each group of them.

    A condition takes 0.7 µs, so with hundreds of tables they would cost more than all else.
    """
    groups = [statements[start : start + _GROUP] for start in range(0, len(statements), _GROUP)]
    return sql.SQL("").join(
        sql.SQL("        IF dirty && ARRAY[{}]::oid[] THEN\n{}        END IF;\n").format(
            listed([oid for oids, _ in group for oid in oids]),
            sql.SQL("").join(restoration for _, restoration in group),
        )
        for group in groups
    )


_COUNTED: Final = sql.SQL("GET DIAGNOSTICS these = ROW_COUNT; deleted := deleted + these;")

_EMPTY: Final = "DELETE FROM ONLY {table}; {counted}"

# What is as in the template stays where it is. *= compares the stored images, so it does for types without an = as well.
_RESTORE_SEEDS: Final = """
            DELETE FROM ONLY {table} AS found
             WHERE NOT EXISTS (SELECT FROM {seed} AS seed WHERE {same_key} AND {same_row}); {counted}
            INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {seed} AS seed
             WHERE NOT EXISTS (SELECT FROM ONLY {table} AS found WHERE {same_key});
        """

_REPLACE_ROWS: Final = """
            DELETE FROM ONLY {table}; {counted}
            INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {seed} AS seed;
        """


def _list(template: str, names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(template).format(sql.Identifier(name)) for name in names)


def listed(oids: list[int]) -> sql.Composed:
    """Oids, with commas between them."""
    return sql.SQL(", ").join(sql.Literal(oid) for oid in oids)
