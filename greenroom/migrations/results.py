"""What a check has found."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Outcome = Literal["ok", "failed", "skipped"]


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock that a revision took on a table with rows.

    Attributes:
        table: The table.
        rows: How many rows it had.
        mode: The lock, as PostgreSQL calls it.
        blocks: What nobody else can do meanwhile.
        milliseconds: From the beginning of the statement that took it to the end of the transaction.
        statement: That statement.
    """

    table: str
    rows: int
    mode: str
    blocks: str
    milliseconds: float
    statement: str

    def __str__(self) -> str:
        shown = self.statement if len(self.statement) <= 90 else f"{self.statement[:89]}…"
        return (
            f"{self.mode} on {self.table} for {self.milliseconds:.1f} ms, which blocks {self.blocks}: {shown}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a check has found.

    Attributes:
        check: The check.
        revision: The revision, if it is about one.
        outcome: `skipped` is for what could not be tried, or is not there.
        said: Why it failed or was skipped; otherwise a few words about what was done.
        hint: What helps.
        notes: What a reader may want to know, a line each.
        locks: The locks that the revision took.
        seconds: How long the check took.
    """

    check: str
    revision: str | None = None
    outcome: Outcome = "ok"
    said: str = ""
    hint: str | None = None
    notes: tuple[str, ...] = ()
    locks: tuple[Lock, ...] = ()
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """As pytest names it: `up_down_up[a1b2]`."""
        return named(self.check, self.revision)

    def as_dict(self) -> dict[str, Any]:
        """For a program."""
        return {"name": self.name} | dataclasses.asdict(self)


def named(check: str, revision: str | None) -> str:
    """The name of a check of a revision, or of all."""
    return check if revision is None else f"{check}[{revision}]"


def counted(number: int, noun: str) -> str:
    """A number of things: `1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
