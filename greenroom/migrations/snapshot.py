"""A schema as text, object by object, and the difference of two of them."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Final

import psycopg
from psycopg import sql

Snapshot = Mapping[tuple[str, str], str]
"""The definition of each object, by its kind and name. The order of a table's columns is none of it: no downgrade restores it."""

_TABLES: Final = ("table", "partitioned table", "foreign table")


def take(connection: psycopg.Connection[Any], version_table: tuple[str | None, str]) -> Snapshot:
    """The schema of a database, but for Alembic's own table and what belongs to extensions.

    Args:
        connection: As `States.connection` makes it.
        version_table: Alembic's own table: its schema, if it is named, and its name.
    """
    schema, table = version_table
    rows = connection.execute(_query(), {"schema": schema, "table": table}).fetchall()
    return {(kind, name): definition or "" for kind, name, definition in rows}


def difference(wanted: Snapshot, found: Snapshot) -> list[str]:
    """What is missing (`-`), too much (`+`) or different (`~`), a line each; what belongs to such a table is not listed.

    Args:
        wanted: The schema as it should be.
        found: As it is.
    """
    return [*_only(wanted, found, "-"), *_only(found, wanted, "+"), *_changed(wanted, found)]


@functools.cache
def _query() -> sql.SQL:
    return sql.SQL(resources.files(__package__).joinpath("snapshot.sql").read_text(encoding="utf-8"))


def _only(these: Snapshot, others: Snapshot, mark: str) -> Iterator[str]:
    alone = {key: definition for key, definition in these.items() if key not in others}
    tables = [name for kind, name in alone if kind in _TABLES]
    for (kind, name), definition in sorted(alone.items()):
        if kind in _TABLES or not any(_belongs(name, definition, table) for table in tables):
            first, *more = definition.strip().splitlines() or [""]
            text = f"{mark} {kind} {name}: {first}{' …' if more else ''}"
            yield text.removesuffix(": ")


def _belongs(name: str, definition: str, table: str) -> bool:
    """Whether an object is a part of a table: a column, an index, a comment on it, or the sequence of one of its columns."""
    return (
        name.startswith((f"{table}.", f"{table} "))
        or name == table
        or f"OWNED BY {table}." in definition.replace("public.", "")
    )


def _changed(wanted: Snapshot, found: Snapshot) -> Iterator[str]:
    for (kind, name), definition in sorted(wanted.items()):
        other = found.get((kind, name), definition)
        if other == definition:
            continue
        if "\n" not in definition and "\n" not in other:
            yield f"~ {kind} {name}: {definition} → {other}"
            continue
        yield f"~ {kind} {name}:"
        lines = difflib.unified_diff(definition.splitlines(), other.splitlines(), n=0, lineterm="")
        yield from (f"    {line}" for line in lines if not line.startswith(("---", "+++", "@@")))
