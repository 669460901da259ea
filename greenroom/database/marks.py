"""Which databases and roles on a server are greenroom's: those that bear its mark, a comment in JSON.

A mark names what it was made for: the cluster, the oid, and a database's name. So one that was carried elsewhere proves
nothing: by pg_dump or CREATE DATABASE … TEMPLATE (another oid), by pg_dumpall (another cluster), by hand (another
name). The name alone proves nothing, either.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final, Literal

PREFIX: Final = "greenroom_"

_KEY: Final = "greenroom"

Kind = Literal["template", "run", "shell"]
"""What a database is for: to be cloned, one process of a test run, or a person's use between runs."""

DATABASES: Final = """
SELECT datname, oid::bigint, (SELECT system_identifier::text FROM pg_control_system()), datistemplate,
       shobj_description(oid, 'pg_database')
  FROM pg_database"""
"""The rows that `database` takes."""

ROLES: Final = """
SELECT oid::bigint, (SELECT system_identifier::text FROM pg_control_system()), shobj_description(oid, 'pg_authid')
  FROM pg_roles WHERE rolname = %s"""
"""The row that `role` takes."""


@dataclasses.dataclass(frozen=True)
class Database:
    """A database of greenroom's on the server, with what its mark says.

    Attributes:
        name: Its name.
        kind: What it is for.
        complete: A template that is ready to be cloned.
        checkout: The identity of the checkout that it was made for.
        locked_in: The maintenance database that its run's lock is in: another one does not see it.
        details: What else its maker wrote down.
    """

    name: str
    kind: Kind
    complete: bool
    checkout: str
    locked_in: str
    details: dict[str, Any]


_IN_MARK: Final = ("kind", "checkout", "locked_in", "details")


def written(**content: Any) -> str:
    """The comment that is the mark.

    Args:
        content: What it says: `oid` and `cluster`, for a database `names`, and what `Database` has.
    """
    return json.dumps({_KEY: content})


def database(name: str, oid: int, cluster: str, template: bool, comment: str | None) -> Database | None:
    """The database of a row, if it bears greenroom's mark, and that was made for this very one."""
    mark = role(oid, cluster, comment)
    if mark is None or name not in mark.get("names", ()) or not all(key in mark for key in _IN_MARK):
        return None
    return Database(name=name, complete=template, **{key: mark[key] for key in _IN_MARK})


def role(oid: int, cluster: str, comment: str | None) -> dict[str, Any] | None:
    """What the mark of a role says, if it bears one, and that was made for this very one."""
    try:
        mark = json.loads(comment or "")[_KEY]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(mark, dict) or (mark.get("oid"), mark.get("cluster")) != (oid, cluster):
        return None
    return mark
