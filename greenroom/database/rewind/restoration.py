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
    """The statements of the rewind that bring one table back."""
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
    return restore


def choice(restorations: dict[int, list[sql.Composed]]) -> sql.Composed:
    """What to execute for the table that was noted: a search for its oid, half of them at a time.

    A comparison takes 0.1 µs, so that hundreds of tables take hardly longer than twenty.

    Args:
        restorations: By oid, the restorations of that table and of those that inherit from it.
    """
    oids = sorted(restorations)
    if len(oids) <= 1:
        return sql.SQL("").join(
            sql.SQL("        IF noted = {} THEN\n{}        END IF;\n").format(
                oid, sql.SQL("").join(restorations[oid])
            )
            for oid in oids
        )
    middle = len(oids) // 2
    lower, upper = ({oid: restorations[oid] for oid in half} for half in (oids[:middle], oids[middle:]))
    return sql.SQL("        IF noted < {} THEN\n{}        ELSE\n{}        END IF;\n").format(
        oids[middle], choice(lower), choice(upper)
    )


_COUNTED: Final = sql.SQL("GET DIAGNOSTICS these = ROW_COUNT; deleted := deleted + these;")


def _list(template: str, names: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(template).format(sql.Identifier(name)) for name in names)


def listed(oids: list[int]) -> sql.Composed:
    """Oids, with commas between them."""
    return sql.SQL(", ").join(sql.Literal(oid) for oid in oids)
