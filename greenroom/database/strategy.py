"""How PostgreSQL copies a template: chosen by what was measured on that very server, when the template was built.

`wal_log` writes each page to the WAL, `file_copy` copies files between two checkpoints, and since PostgreSQL 18 it can leave
that to the file system (`clone`, its setting `file_copy_method`). Which is quickest depends on the size of the template and on
the disk; docs/decisions/0007 has figures.
"""

from __future__ import annotations

import secrets
import time
from typing import Final

import psycopg

from greenroom.database.admin import STATEMENTS, Admin
from greenroom.database.marks import PREFIX

_ROUNDS: Final = 2

_ENOUGH: Final = 0.5
"""Seconds after which no further round is measured: the choice must not take longer than it can save."""

_PATIENCE: Final = 100
"""Milliseconds that each may take, though another was quicker: the first round may find them unprepared."""


def offered(version: int) -> list[str]:
    """The strategies that a server has; none where it has but one.

    Args:
        version: As libpq gives it, 180006 for 18.6.
    """
    if version < 150000:
        return []
    return [name for name in STATEMENTS if name != "clone" or version >= 180000]


def measure(admin: Admin, template: str, *, owner: str, checkout: str) -> dict[str, float | None]:
    """Clone a template in each way that the server has, in turn.

    Args:
        admin: The server.
        template: The template, which nobody is connected to.
        owner: The role that owns the clones.
        checkout: The identity of the checkout that they are for.

    Returns:
        The milliseconds of each, at best, the quickest first; None for one that was given up, since another had been
        quicker. A file system that cannot clone is left out.
    """
    names = offered(admin.version)
    best: dict[str, float | None] = {}
    began = time.monotonic()
    for _ in range(_ROUNDS):
        for name in list(names):
            quickest = min((took for took in best.values() if took is not None), default=None)
            trial = f"{PREFIX}trial_{secrets.token_hex(4)}"
            with admin.lock(trial):
                start = time.perf_counter()
                try:
                    admin.create(
                        trial, "run", owner=owner, checkout=checkout, template=template, strategy=name,
                        limit=None if quickest is None else max(quickest, _PATIENCE),
                    )  # fmt: skip
                except psycopg.errors.QueryCanceled:
                    best.setdefault(name, None)
                    names.remove(name)
                    continue
                except psycopg.Error:
                    if name != "clone":
                        raise
                    names.remove(name)
                    continue
                took = (time.perf_counter() - start) * 1000
                best[name] = min(took, best.get(name) or took)
                admin.drop(trial)
        if len(names) == 1 or time.monotonic() - began > _ENOUGH:
            break
    return dict(sorted(best.items(), key=lambda item: item[1] or float("inf")))


def said(measured: dict[str, float | None]) -> str:
    """The choice and its reason, for a user: `file_copy (17 ms; wal_log 31 ms)`."""
    if not measured:
        return "the only way that this server has"
    (best, took), *others = measured.items()
    rest = "".join(f"; {name} {'longer' if each is None else f'{each:.0f} ms'}" for name, each in others)
    return f"{best} ({took:.0f} ms{rest})"
