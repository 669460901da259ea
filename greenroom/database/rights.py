"""The application's role can log in, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql

from greenroom.database.marks import PREFIX
from greenroom.errors import RefusedError

_POWERS: Final = """
SELECT concat_ws(', ', CASE WHEN rolsuper THEN 'is a superuser' END, CASE WHEN rolcreatedb THEN 'makes databases' END,
                 CASE WHEN rolcreaterole THEN 'makes roles' END, CASE WHEN rolbypassrls THEN 'bypasses policies' END,
                 CASE WHEN rolreplication THEN 'replicates' END)
  FROM pg_roles WHERE rolname = %(role)s"""

_MEMBERSHIPS: Final = """
SELECT string_agg(quote_ident(g.rolname), ', ' ORDER BY g.rolname)
  FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS r ON r.oid = m.member
 WHERE r.rolname = %(role)s AND g.rolname <> ALL (%(beside)s)"""

# A database that is just being made has no mark yet, so here the name has to do.
_ELSEWHERE: Final = """
SELECT string_agg(DISTINCT datname, ', ')
  FROM pg_shdepend AS s JOIN pg_roles AS r ON r.oid = s.refobjid
  JOIN pg_database AS d ON d.oid = CASE WHEN s.classid = 'pg_database'::regclass THEN s.objid ELSE s.dbid END
 WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = %(role)s AND NOT starts_with(d.datname, %(prefix)s)"""


def refuse(connection: psycopg.Connection[Any], role: str, *, beside: Sequence[str] = ()) -> None:
    """Refuse a role that may do more than log in, or that has to do with anybody else's database.

    Args:
        connection: To any database of the server.
        role: Its name.
        beside: Roles that it may be a member of.

    Raises:
        RefusedError: Somebody gave it more.
    """
    name = sql.Identifier(role).as_string(connection)
    less = f"ALTER ROLE {name} NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION"
    for query, how, remedy in (
        (_POWERS, "it {}", less),
        (_MEMBERSHIPS, "it is a member of {}", f"REVOKE {{}} FROM {name}"),
        (_ELSEWHERE, "it has rights or objects in {}", 'choose another name: role = "…" in [tool.greenroom]'),
    ):
        row = connection.execute(query, {"role": role, "prefix": PREFIX, "beside": list(beside)}).fetchone()
        if row and row[0]:
            raise RefusedError(
                f"The role {role!r} must have no right beyond logging in, so that tests cannot do what the application "
                f"could not. Somebody gave it more: {how.format(row[0])}.",
                hint=remedy.format(row[0]),
            )
