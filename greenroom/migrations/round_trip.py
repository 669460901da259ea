"""Whether a revision can be taken back, and applied again, with the same schema each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom.migrations import snapshot
from greenroom.migrations.process import MigrationError
from greenroom.migrations.results import Result

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.migrations.history import Revision
    from greenroom.migrations.process import Process
    from greenroom.migrations.snapshot import Snapshot
    from greenroom.migrations.states import States


def check(
    config: Config, states: States, process: Process, revision: Revision, before: Snapshot | None
) -> tuple[Result, Snapshot | None]:
    """Apply a revision, take it back, and apply it again.

    Args:
        config: The project.
        states: The databases; `work` is at the state before the revision.
        process: Runs the revision.
        revision: The revision.
        before: The schema before it, if it is known.

    Returns:
        The result; and the schema after it, if `work` is there now and in order.

    Raises:
        MigrationError: The revision, or its downgrade, has failed.
    """
    with states.connection() as connection:
        if before is None:
            before = snapshot.take(connection, process.version_table)
        process.run([(revision.name, True)])
        applied = snapshot.take(connection, process.version_table)
        reason = _not_there(revision, changes=applied != before) or _taken_back(process, revision)
        if reason is not None:
            return _irreversible(config, revision, reason), None
        if revision.downgrade == "missing":
            return Result(check="", said="it changes nothing in the schema, and has no downgrade"), applied
        left = snapshot.difference(before, snapshot.take(connection, process.version_table))
        try:
            process.run([(revision.name, True)])
        except MigrationError as error:
            traces = _listed("The downgrade has left this:", left)
            said = f"{revision.name} cannot be applied after its downgrade.\n{error.said}{traces}"
            return Result(check="", outcome="failed", said=said, hint=_completed(left)), None
        again = snapshot.difference(applied, snapshot.take(connection, process.version_table))
    if not left and not again:
        return Result(check=""), applied
    restored = (
        f"The downgrade of {revision.name} does not restore the schema (- missing, + too much, ~ different):"
    )
    repeated = f"Applied again, {revision.name} makes another schema than at first:"
    said = (_listed(restored, left) + _listed(repeated, again)).strip()
    return Result(check="", outcome="failed", said=said, hint=_completed(left)), None


def _not_there(revision: Revision, *, changes: bool) -> str | None:
    """Why there is no downgrade, as its file says; one of rows only may do nothing."""
    if not changes or revision.downgrade == "there":
        return None
    return (
        "its downgrade is missing"
        if revision.downgrade == "missing"
        else "its downgrade does nothing (`pass`)"
    )


def _taken_back(process: Process, revision: Revision) -> str | None:
    """Take it back. If its downgrade says that there is none, that is the result."""
    if revision.downgrade == "missing":
        return None
    try:
        process.run([(revision.name, False)])
    except MigrationError as error:
        if not error.irreversible:
            raise error.saying(f"The downgrade of {revision.name} failed.") from None
        return f"its downgrade says that there is none\n{error.said}"
    return None


def _irreversible(config: Config, revision: Revision, reason: str) -> Result:
    said = f"{revision.name} cannot be taken back: {reason}"
    if config.migration_downgrades != "required":
        return Result(check="", outcome="skipped", said=said)
    hint = 'write it, or allow it: migration_downgrades = "optional" in [tool.greenroom]'
    return Result(check="", outcome="failed", said=said, hint=hint)


def _completed(left: list[str]) -> str:
    """What helps against a downgrade that leaves this."""
    enum = next((line.split()[2].removesuffix(":") for line in left if line.startswith("+ enum ")), None)
    if enum is not None:
        return f"a type outlives the tables that use it; in the downgrade: op.execute('DROP TYPE {enum}')"
    return "complete the downgrade"


def _listed(title: str, lines: list[str]) -> str:
    return "".join([f"\n{title}", *(f"\n  {line}" for line in lines)]) if lines else ""
