"""How PostgreSQL copies a template: chosen by what was measured on that very server, when the template was built.

`wal_log` writes each page to the WAL, `file_copy` copies files between two checkpoints, and since PostgreSQL 18 it can leave
that to the file system (`clone`, its setting `file_copy_method`). Which is quickest depends on the size of the template and on
the disk; docs/decisions/0007 has figures.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

import psycopg

from greenroom.database.marks import PREFIX

if TYPE_CHECKING:
    from greenroom.database.admin import Admin

STATEMENTS: Final = {
    "file_copy": ("STRATEGY file_copy", "copy"),
    "wal_log": ("STRATEGY wal_log", None),
    "clone": ("STRATEGY file_copy", "clone"),
}
"""What CREATE DATABASE says for each, and the value of `file_copy_method`, where the server has it."""

_ROUNDS: Final = 2

_ENOUGH: Final = 1.0
"""Seconds after which no further round is measured: the choice must not take longer than it can save."""


def offered(version: int) -> list[str]:
    """The strategies that a server has; none where it has but one.

    Args:
        version: As libpq gives it, 180006 for 18.6.
    """
    if version < 150000:
        return []
    return [name for name in STATEMENTS if name != "clone" or version >= 180000]


def measure(admin: Admin, template: str, *, owner: str, checkout: str) -> dict[str, float]:
    """Clone a template in each way that the server has, in turn.

    Args:
        admin: The server.
        template: The template, which nobody is connected to.
        owner: The role that owns the clones.
        checkout: The identity of the checkout that they are for.

    Returns:
        The milliseconds of each, on average, the quickest first. A file system that cannot clone is left out.
    """
    spent: dict[str, list[float]] = {name: [] for name in offered(admin.version)}
    began = time.monotonic()
    for _ in range(_ROUNDS):
        for name in list(spent):
            trial = f"{PREFIX}trial_{secrets.token_hex(4)}"
            with admin.lock(trial):
                start = time.perf_counter()
                try:
                    admin.create(
                        trial, "run", owner=owner, checkout=checkout, template=template, strategy=name
                    )
                except psycopg.Error:
                    if name != "clone":
                        raise
                    del spent[name]
                    continue
                spent[name].append((time.perf_counter() - start) * 1000)
                admin.drop(trial)
        if time.monotonic() - began > _ENOUGH:
            break
    averages = {name: sum(times) / len(times) for name, times in spent.items()}
    return dict(sorted(averages.items(), key=lambda item: item[1]))


def said(measured: dict[str, float]) -> str:
    """The choice and its reason, for a user: `file_copy (17 ms; wal_log 31 ms)`."""
    if not measured:
        return "the only way that this server has"
    (best, took), *others = measured.items()
    rest = "".join(f"; {name} {milliseconds:.0f} ms" for name, milliseconds in others)
    return f"{best} ({took:.0f} ms{rest})"
