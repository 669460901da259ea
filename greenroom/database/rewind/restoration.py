"""The copies of the seeds, and the statements of the rewind that bring one table back."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql

from greenroom.database.rewind.statements import statement


def seed(oid: int, depth: int) -> sql.Identifier:
    """The name of a table's copy.

    Args:
        oid: The table.
        depth: Whose rows they are: 0 for the template's, more for those of a baseline (baselines.py).
    """
    return sql.Identifier("greenroom", f"seed_{oid}_{depth}")


def copy_rows(
    connection: psycopg.Connection[Any], row: dict[str, Any], depth: int = 0, *, rows: bool = True
) -> None:
    """Copy a table's rows into the schema `greenroom`. There is no copy of an empty table of the template.

    Values of the project's own types are copied as text: with a column of such a type, no test could drop the type.

    Args:
        connection: To the database, as the admin.
        row: The table, from sql/tables.sql.
        depth: As for `seed`.
        rows: Copy them; otherwise the copy stays empty.
    """
    table = sql.Identifier(row["nspname"], row["relname"])
    is_empty = connection.execute(sql.SQL("SELECT FROM ONLY {} LIMIT 1").format(table)).fetchone() is None
    if depth == 0 and is_empty:
        return
    names = dict.fromkeys([*row["columns"], *row["key"]])
    values = [sql.SQL("{} AS {}").format(_stored(row, "found", name), sql.Identifier(name)) for name in names]
    connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT {} FROM ONLY {} AS found {}").format(
            seed(row["oid"], depth),
            sql.SQL(", ").join(values),
            table,
            sql.SQL("" if rows else "WITH NO DATA"),
        )
    )


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


def restoration(row: dict[str, Any], copy: sql.Identifier | None) -> sql.Composed:
    """The statements of the rewind for one table: executed if it, or a table that it inherits from, was noted."""
    table = sql.Identifier(row["nspname"], row["relname"])
    if copy is None:
        restore = statement("empty").format(table=table, counted=_COUNTED)
    else:
        restore = statement("restore_seeds" if row["key"] else "replace_rows").format(
            table=table,
            seed=copy,
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


def _list(template: str, names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(template).format(sql.Identifier(name)) for name in names)


def listed(oids: list[int]) -> sql.Composed:
    """Oids, with commas between them."""
    return sql.SQL(", ").join(sql.Literal(oid) for oid in oids)
