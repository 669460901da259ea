"""Rows of no project's own: two for each table, made of what the catalog says about it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import psycopg

from greenroom.migrations.tables import Table
from greenroom.migrations.values import Column, candidates

_TRIES: Final = 60
"""How many rows are tried for one that the checks let pass."""


def fill(connection: psycopg.Connection[Any], tables: list[Table]) -> dict[str, str]:
    """Put two rows into each table: one with a value in each column, one with what is required only.

    Args:
        connection: As `States.connection` makes it.
        tables: The tables.

    Returns:
        The tables that could not be filled, each with the reason.
    """
    failed = {}
    for table in _ordered(tables):
        reasons = [_insert(connection, table, number) for number in (1, 2)]
        if reasons[0] is not None and reasons[1] is not None:
            failed[table.shown] = reasons[0]
    return failed


def _ordered(tables: list[Table]) -> Iterator[Table]:
    """The tables, each after those that it refers to; where they go in circles, after those that it must refer to."""
    left = {table.oid: table for table in tables}

    def waits(table: Table, *, required: bool) -> bool:
        must = {column.number for column in table.columns if column.required}
        return any(
            key.target in left and key.target != table.oid and (not required or must & set(key.columns))
            for key in table.keys
        )

    while left:
        ready = [table for table in left.values() if not waits(table, required=False)]
        ready = ready or [table for table in left.values() if not waits(table, required=True)][:1]
        for table in ready or list(left.values()):
            del left[table.oid]
            yield table


def _insert(connection: psycopg.Connection[Any], table: Table, number: int) -> str | None:
    """Insert a row. Returns why that cannot be, or None.

    Args:
        connection: The connection.
        table: The table.
        number: 1 for a row with a value in each column, 2 for one with what is required only.
    """
    minimal = number == 2
    wanted = {
        column.number: column
        for column in table.columns
        if column.number not in table.given and (column.required or not minimal)
    }
    fixed = _references(connection, table, number, wanted)
    if isinstance(fixed, str):
        return fixed
    free: dict[int, list[str | None]] = {}
    for each in wanted.values():
        if each.number in fixed:
            continue
        found: list[str | None] = [*candidates(each, number)]
        if not found and each.required:
            return f"nothing is known of the type {each.type} of {each.name}"
        free[each.number] = found or [None]
    return _tried(connection, table, {**{key: [value] for key, value in fixed.items()}, **free}, wanted)


def _tried(
    connection: psycopg.Connection[Any],
    table: Table,
    choices: Mapping[int, list[str | None]],
    columns: Mapping[int, Column],
) -> str | None:
    """Insert a row of the first choices that the table takes: after each check that fails, others for its columns."""
    current = {number: values[0] for number, values in choices.items()}
    changed: dict[str, Iterator[tuple[str | None, ...]]] = {}
    reason = ""
    for _ in range(_TRIES):
        try:
            with connection.transaction():
                _execute(connection, table, current, columns)
        except (psycopg.errors.CheckViolation, psycopg.errors.UniqueViolation) as error:
            reason = str(error.diag.message_primary)
            name = error.diag.constraint_name or ""
            numbers = [each for each in table.checks.get(name, tuple(choices)) if each in choices]
            others = changed.setdefault(name, itertools.product(*(choices[each] for each in numbers)))
            values = next(others, None)
            if values is None:
                return reason
            current.update(zip(numbers, values, strict=True))
        except psycopg.Error as error:
            return str(error.diag.message_primary or error)
        else:
            return None
    return reason


def _execute(
    connection: psycopg.Connection[Any],
    table: Table,
    values: Mapping[int, str | None],
    columns: Mapping[int, Column],
) -> None:
    given = {number: value for number, value in values.items() if value is not None}
    if not given:
        connection.execute(f"INSERT INTO {table.name} DEFAULT VALUES".encode())
        return
    names = ", ".join(columns[number].name for number in given)
    places = ", ".join(f"CAST(%s AS {columns[number].type})" for number in given)
    query = f"INSERT INTO {table.name} ({names}) VALUES ({places})"  # noqa: S608
    connection.execute(query.encode(), list(given.values()))


def _references(
    connection: psycopg.Connection[Any], table: Table, number: int, wanted: Mapping[int, Column]
) -> dict[int, str | None] | str:
    """The values of the columns that refer to another table: another row of it for each row. A text says why there are none."""
    fixed: dict[int, str | None] = {}
    for key in table.keys:
        columns = dict(zip(key.columns, key.targets, strict=True))
        if all(each in fixed or each not in wanted for each in columns):
            continue
        row = None
        if key.target != table.oid or number > 1:
            # Of two keys with a column in common, such as a tenant, the second refers to a row of the first one's tenant.
            known = {target: fixed[each] for each, target in columns.items() if fixed.get(each) is not None}
            conditions = " AND ".join(f"{target}::text = %s" for target in known) or "true"
            names = ", ".join(f"{target}::text" for target in key.targets)
            query = f"SELECT {names} FROM {key.name} WHERE {conditions} ORDER BY ctid LIMIT 2"  # noqa: S608
            rows = connection.execute(query.encode(), list(known.values())).fetchall()
            row = rows[min(number, len(rows)) - 1] if rows else None
        if row is None and any(each in wanted and wanted[each].required for each in columns):
            return f"it refers to {key.name.removeprefix('public.')}, which has no rows for it"
        fixed |= dict.fromkeys(columns) if row is None else dict(zip(columns, row, strict=True))
    return {each: value for each, value in fixed.items() if each in wanted}
