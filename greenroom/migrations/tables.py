"""The tables of a database: what rows in them need, how many they have, and what became of these after a revision."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from greenroom.migrations.results import counted
from greenroom.migrations.values import Column


@dataclasses.dataclass(frozen=True)
class ForeignKey:
    """What a table refers to.

    Attributes:
        columns: The numbers of the columns that refer.
        target: The oid of the table that they refer to.
        name: Its name.
        targets: The names of the columns there.
    """

    columns: tuple[int, ...]
    target: int
    name: str
    targets: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        oid: Its number, which stays when it is renamed.
        file: The number of the file with its rows, which changes when they are all written again.
        name: Its name, as it is written in SQL.
        columns: Its columns.
        given: The numbers of the columns that have a value without being named.
        keys: Its foreign keys, those of several columns first.
        checks: The columns of its checks and of its unique indexes, by name.
    """

    oid: int
    file: int
    name: str
    columns: tuple[Column, ...]
    given: frozenset[int]
    keys: tuple[ForeignKey, ...]
    checks: Mapping[str, tuple[int, ...]]

    @property
    def shown(self) -> str:
        """Its name for a person."""
        return self.name.removeprefix("public.")


def read(connection: psycopg.Connection[Any], version_table: tuple[str | None, str]) -> list[Table]:
    """The tables of a database, but for Alembic's own and those of extensions. A partition counts as a part of its table.

    Args:
        connection: As `States.connection` makes it.
        version_table: Alembic's own table: its schema, if it is named, and its name.
    """
    schema, table = version_table
    rows = connection.execute(_query(), {"schema": schema, "table": table}).fetchall()
    return [_table(**found) for (found,) in rows]


@functools.cache
def _query() -> sql.SQL:
    return sql.SQL(resources.files(__package__).joinpath("tables.sql").read_text(encoding="utf-8"))


def _table(
    *, columns: list[dict[str, Any]], keys: list[dict[str, Any]], checks: dict[str, list[int]], **more: Any
) -> Table:
    given = frozenset(each["number"] for each in columns if each.pop("default"))
    return Table(
        columns=tuple(
            Column(**each | {"labels": tuple(each["labels"]), "checks": tuple(each["checks"])})
            for each in columns
        ),
        given=given,
        keys=tuple(
            ForeignKey(tuple(each["columns"]), each["target"], each["name"], tuple(each["targets"]))
            for each in keys
        ),
        checks={name: tuple(numbers or ()) for name, numbers in checks.items()},
        **more,
    )


@dataclasses.dataclass(frozen=True)
class Contents:
    """How much there is in a table.

    Attributes:
        table: The table.
        rows: How many rows it has.
        values: By the column's number, how many of them are not null.
    """

    table: Table
    rows: int
    values: Mapping[int, int]


def contents(connection: psycopg.Connection[Any], tables: list[Table]) -> dict[int, Contents]:
    """How much there is in each table, by its oid."""
    found = {}
    for table in tables:
        counts = ", ".join(["count(*)", *(f"count({column.name})" for column in table.columns)])
        row = connection.execute(f"SELECT {counts} FROM {table.name}").fetchone()  # noqa: S608 - names from the catalog
        assert row is not None
        numbers = [column.number for column in table.columns]
        found[table.oid] = Contents(table, row[0], dict(zip(numbers, row[1:], strict=True)))
    return found


@dataclasses.dataclass(frozen=True)
class Fate:
    """What became of the rows.

    Attributes:
        lost: What should not have happened, a line each.
        told: What a reader may want to know, a line each.
    """

    lost: list[str]
    told: list[str]


def fate(before: Mapping[int, Contents], after: Mapping[int, Contents]) -> Fate:
    """Compare what tables have held before a revision with what they hold after it."""
    lost: list[str] = []
    told: list[str] = []
    by_name = {each.table.name: each for each in after.values()}
    for oid, old in before.items():
        if not old.rows:
            continue
        new = after.get(oid) or by_name.get(old.table.name)
        if new is None:
            told.append(f"drops the table {old.table.shown} and its {counted(old.rows, 'row')}")
        elif new.rows < old.rows:
            lost.append(f"{new.table.shown} had {counted(old.rows, 'row')}, and has {new.rows} after it")
        else:
            if oid in after and old.table.file != new.table.file:
                told.append(f"writes all rows of {new.table.shown} again, while nobody can read it")
            for name, here, there in _columns(old, new):
                if there is None:
                    told.append(
                        f"drops the column {old.table.shown}.{name}, which has a value in {counted(here, 'row')}"
                    )
                elif there < here:
                    lost.append(
                        f"{new.table.shown}.{name} had a value in {counted(here, 'row')}, and has one in {there} after it"
                    )
    return Fate(lost, told)


def _columns(old: Contents, new: Contents) -> Iterator[tuple[str, int, int | None]]:
    """For each column that had values its name, how many, and how many there are now; None if it is not there."""
    same = old.table.oid == new.table.oid
    names = {column.name: column.number for column in new.table.columns}
    for column in old.table.columns:
        here = old.values[column.number]
        if same and column.number in new.values:  # perhaps under another name
            yield column.name, here, new.values[column.number]
        elif here:
            number = names.get(column.name)
            yield column.name, here, None if number is None else new.values[number]
