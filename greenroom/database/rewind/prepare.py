"""Prepare a migrated database to be rewound. What is cloned from it is prepared, too."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from greenroom.connection import BUILD, connect
from greenroom.database.rewind.restoration import choice, copy_rows, listed, restoration, seed
from greenroom.database.rewind.statements import TEXT, statement
from greenroom.errors import RewindError

if TYPE_CHECKING:
    from sqlalchemy import URL

_MANY: Final = 10_000
"""When one rewind deletes more rows, their space is reclaimed at once."""

_KNOWN: Final = (180000, 190000)
"""The versions of the server whose function that reads the log was tried: from the first up to the second."""

_FEW: Final = 60
"""So many sequences are read in less time than what the server has logged. And no more may be called, which are set where
the log does not help."""

_BYTES: Final = 30
"""Of the log, for each sequence: to read more takes longer than to read the sequences."""


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
    if _KNOWN[0] <= connection.info.server_version < _KNOWN[1]:
        # The server may come without the library.
        with contextlib.suppress(psycopg.errors.UndefinedFile), connection.transaction():
            connection.execute(statement("wal"))
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
    beyond = [0]
    restorations: dict[int, list[sql.Composed]] = {}
    for row in _all(connection, "tables"):
        if row["is_loud"]:
            beyond += row["named_by"]
        if row["holds_rows"]:
            depth = copies.get(row["oid"])
            restored = restoration(row, None if depth is None else seed(row["oid"], depth))
            for oid in row["named_by"]:
                restorations.setdefault(oid, []).append(restored)
    connection.execute(
        statement("rewind").format(
            beyond=listed(beyond),
            surroundings=statement("surroundings").format(here=sql.SQL("here")),
            tables=choice(restorations),
            sequences=_put_back(connection),
            many=_MANY,
        )
    )


def _put_back(connection: psycopg.Connection[Any]) -> sql.Composed:
    """The statements of the rewind that bring the sequences back: by what the server has logged if that takes less time."""
    count, by_wal = connection.execute(statement("by_wal"), [_FEW, _FEW]).fetchone() or (0, False)
    if not by_wal:
        return statement("put_back").format(changed=changed_sequences(connection))
    # What was logged before is of no use: it may have been made a part of a baseline.
    connection.execute("SELECT set_config('greenroom.since', '', false)")
    return statement("put_back_by_wal").format(window=count * _BYTES, all=statement("all_sequences"))


def changed_sequences(connection: psycopg.Connection[Any]) -> sql.SQL:
    """The query for the sequences that are not, or before version 18 may not be, as the rewind leaves them."""
    new = connection.info.server_version >= 180000
    return statement("changed_sequences" if new else "changed_sequences_before_18")


def _all(connection: psycopg.Connection[Any], name: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name)).fetchall()
