"""Prepare a migrated database to be rewound. What is cloned from it is prepared, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from greenroom.connection import BUILD, connect
from greenroom.database.rewind.restoration import copy_rows, in_groups, listed, restoration, seed
from greenroom.database.rewind.statements import TEXT, statement
from greenroom.errors import RewindError

if TYPE_CHECKING:
    from sqlalchemy import URL

_MANY: Final = 10_000
"""When one rewind deletes more rows, their space is reclaimed at once."""


def prepare(url: URL) -> None:
    """Prepare a migrated database to be rewound.

    Args:
        url: The database, as the admin.

    Raises:
        RewindError: The admin's role may not do what a rewind needs.
    """
    with connect(url, answer=BUILD, autocommit=False, options=TEXT) as connection:
        try:
            _prepare(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            raise RewindError(
                f"The admin's role {url.username!r} may not prepare the rewind: {error.diag.message_primary}. It must be "
                f"a superuser, since only one may switch foreign keys off for a moment and see changes of the schema.",
                hint="name a superuser in the server's URL; the service images of CI systems have one",
            ) from None


def _prepare(connection: psycopg.Connection[Any]) -> None:
    connection.execute(statement("schema"))
    for row in enrol(connection):
        copy_rows(connection, row)
    install(connection)
    connection.execute(statement("event_triggers"))
    # A right that the rewind needs and that would otherwise be missed only after the first test.
    connection.execute("SET LOCAL session_replication_role = replica")


def enrol(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Give each table the trigger that notes writing, and note the state of each sequence. Returns the tables that hold rows."""
    tables = _all(connection, "tables")
    trigger = statement("trigger")
    for row in tables:
        if not row["is_enrolled"]:
            connection.execute(trigger.format(table=sql.Identifier(row["nspname"], row["relname"])))
    connection.execute("DELETE FROM greenroom.sequences")
    for row in _all(connection, "sequences"):
        connection.execute(
            sql.SQL("INSERT INTO greenroom.sequences SELECT {}, last_value, is_called, {} FROM {}").format(
                row["oid"], row["cached"], sql.Identifier(row["nspname"], row["relname"])
            )
        )
    return [row for row in tables if row["holds_rows"]]


def install(connection: psycopg.Connection[Any]) -> None:
    """Make the function that rewinds to the copies that there are: of each table to that of the highest depth."""
    copies = dict(connection.execute(statement("copies")).fetchall())
    beyond, statements = [0], []
    for row in _all(connection, "tables"):
        if row["is_loud"]:
            beyond += row["named_by"]
        if row["holds_rows"]:
            depth = copies.get(row["oid"])
            statements.append(
                (row["named_by"], restoration(row, None if depth is None else seed(row["oid"], depth)))
            )
    connection.execute(
        statement("rewind").format(
            beyond=listed(beyond),
            tables=in_groups(statements),
            sequences=changed_sequences(connection),
            many=_MANY,
        )
    )


def changed_sequences(connection: psycopg.Connection[Any]) -> sql.SQL:
    """The query for the sequences that are not, or before version 18 may not be, as the rewind leaves them."""
    new = connection.info.server_version >= 180000
    return statement("changed_sequences" if new else "changed_sequences_before_18")


def _all(connection: psycopg.Connection[Any], name: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name)).fetchall()
