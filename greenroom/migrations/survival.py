"""Whether the rows that are there before a revision are there after it, and which locks it takes on their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg

from greenroom.migrations import rows, tables
from greenroom.migrations.process import MigrationError
from greenroom.migrations.results import Lock, Result, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from greenroom.config import Config
    from greenroom.migrations.process import Process
    from greenroom.migrations.states import States

_BLOCKS: Final = {
    "ShareLock": "writing",
    "ShareRowExclusiveLock": "writing",
    "ExclusiveLock": "writing",
    "AccessExclusiveLock": "reading and writing",
}
"""What each lock keeps others from, the weakest first."""

_UNLIKE: Final = frozenset({
    "22P02", "22003", "22007", "22008", "22023",  # no value of the type that it is converted to
    "23503", "23514", "23P01",  # a new foreign key, check or exclusion constraint
})  # fmt: skip
"""Codes of errors that say that the rows are not such as the revision expects: of generated rows that proves nothing."""


def check(
    config: Config,
    states: States,
    process: Process,
    revision: str,
    *,
    applied: frozenset[str],
) -> Result:
    """Put rows into all tables, apply the revision, and look at what became of them.

    Args:
        config: The project.
        states: The databases; `work` is at the state before the revision.
        process: Runs the revision.
        revision: The revision.
        applied: What is applied before it.

    Raises:
        MigrationError: It fails on empty tables, or the project's own rows do not fit the state before it.
    """
    own = _own(config, revision)
    with states.connection() as connection:
        found = tables.read(connection, process.version_table)
    notes = []
    with states.connection(bare=False) as connection:
        if own is not None:
            _execute(connection, own)
        else:
            for path in config.seed:
                _execute(connection, config.root / path, needed=False)
            notes = [f"no rows in {name}: {reason}" for name, reason in rows.fill(connection, found).items()]
        before = tables.contents(connection, found)
    try:
        taken = process.run([(revision, True)], watch=True)
    except MigrationError as error:
        states.open(applied)
        process.run([(revision, True)])  # on empty tables: if it fails there, too, that is what is wrong
        return _stopped(error, revision, generated=own is None, notes=notes)
    with states.connection() as connection:
        fate = tables.fate(
            before, tables.contents(connection, tables.read(connection, process.version_table))
        )
    filled = sum(1 for each in before.values() if each.rows)
    total = sum(each.rows for each in before.values())
    locks = tuple(_locks(taken, before))
    notes = [*notes, *(f"{revision} {line}" for line in fate.told)]
    if fate.lost:
        lost = "\n".join(f"  {line}" for line in fate.lost)
        return Result(
            check="", outcome="failed", said=f"{revision} loses data:\n{lost}", notes=tuple(notes), locks=locks,
            hint=f'if that is meant: migration_skip = ["data_survives[{revision}]"] in [tool.greenroom]',
        )  # fmt: skip
    return Result(
        check="",
        said=f"{counted(total, 'row')} in {counted(filled, 'table')}",
        notes=tuple(notes),
        locks=locks,
    )


def _own(config: Config, revision: str) -> Path | None:
    """The file with the project's own rows for the state before a revision, if there is one."""
    if config.migration_rows is None:
        return None
    path = config.root / config.migration_rows / f"{revision}.sql"
    return path if path.is_file() else None


def _execute(connection: psycopg.Connection[Any], path: Path, *, needed: bool = True) -> None:
    try:
        with connection.transaction():
            connection.execute(path.read_bytes())
    except psycopg.Error as error:
        if needed:
            said = f"{path.name} does not fit the state before the revision: {error.diag.message_primary or error}"
            raise MigrationError(said, kind="", sqlstate=None, at=None, irreversible=False) from None


def _stopped(error: MigrationError, revision: str, *, generated: bool, notes: list[str]) -> Result:
    database = error.sqlstate is not None
    if generated and (error.sqlstate in _UNLIKE or not database):
        return Result(
            check="", outcome="skipped", notes=tuple(notes),
            said=f"{revision} does not take the generated rows, which may be unlike the project's own.\n{error.said}",
            hint=f'rows of your own, as SQL, in {revision}.sql in the folder that migration_rows names',
        )  # fmt: skip
    return Result(
        check="", outcome="failed", notes=tuple(notes),
        said=f"{revision} fails where there are rows, though it works on empty tables.\n{error.said}",
        hint="a new column needs a server_default, or to be filled before it is NOT NULL"
        if error.sqlstate == "23502" else None,
    )  # fmt: skip


def _locks(taken: list[dict[str, Any]], before: Mapping[int, tables.Contents]) -> Iterator[Lock]:
    """The locks on tables with rows; of those on one table none that is weaker than one before it."""
    strengths = list(_BLOCKS)
    held: dict[int, int] = {}
    for each in sorted(taken, key=lambda lock: (-lock["seconds"], -strengths.index(lock["mode"]))):
        contents, strength = before.get(each["relation"]), strengths.index(each["mode"])
        if contents is None or not contents.rows or held.get(each["relation"], -1) >= strength:
            continue
        held[each["relation"]] = strength
        yield Lock(
            table=contents.table.shown, rows=contents.rows, mode=each["mode"], blocks=_BLOCKS[each["mode"]],
            milliseconds=round(each["seconds"] * 1000, 2), statement=each["statement"],
        )  # fmt: skip
