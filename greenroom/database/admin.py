"""Creating databases, marking them as greenroom's, and dropping none that is not: `marks` says which are.

A database that is in use is known by an advisory lock that its run holds for as long as the run lives; the server lets
go of it when the run's connection ends, however that happens.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
from psycopg import sql

from greenroom import hints
from greenroom.connection import BUILD, connect
from greenroom.database import marks, rights
from greenroom.database.locks import NAME, Locks
from greenroom.database.marks import PREFIX, Database, Kind
from greenroom.errors import RefusedError, ServerError
from greenroom.urls import redacted

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.output import Say


UNHURRIED: Final = "-c statement_timeout=0 -c idle_session_timeout=0"
"""Options of sessions that wait and idle for as long as the run takes, whatever the server's or the role's defaults are."""


# The one first that waits for no checkpoint: where the server waits for its disk, the others may take seconds.
STATEMENTS: Final = {
    "wal_log": ("STRATEGY wal_log", None),
    "file_copy": ("STRATEGY file_copy", "copy"),
    "clone": ("STRATEGY file_copy", "clone"),
}
"""What CREATE DATABASE says for each, and the value of `file_copy_method`, where the server has it."""


class Admin(Locks):
    """A connection to the server's maintenance database, for commands about databases. A context manager.

    Args:
        url: The maintenance database, as a role that may create databases.
    """

    def __init__(self, url: URL) -> None:
        try:
            self._connection = connect(
                url,
                autocommit=True,
                # Who waits for a lock of this process is told its number.
                application_name=f"{NAME}{os.getpid()}",
                options=f"-c lock_timeout=0 {UNHURRIED}",
            )
        except psycopg.OperationalError as error:
            raise ServerError(
                f"The server does not answer ({redacted(url)}): {' '.join(str(error).split())}.",
                # Up alone finds one that hangs already running. Down ends it in any state.
                hint=f"{hints.typed('greenroom down')}, then {hints.typed('greenroom up')}",
            ) from None
        self._url = url
        self._made: dict[str, tuple[int, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, letting go of its locks."""
        self._connection.close()

    @property
    def answer(self) -> float:
        """Seconds for each statement; 0 for no end."""
        return self._connection.answer

    @answer.setter
    def answer(self, seconds: float) -> None:
        self._connection.answer = seconds

    @contextlib.contextmanager
    def _patient(self, seconds: float) -> Iterator[None]:
        """Give the server longer to answer."""
        before, self.answer = self.answer, seconds
        try:
            yield
        finally:
            self.answer = before

    @property
    def version(self) -> int:
        """The server's version as a number: 180006 for 18.6."""
        return self._connection.info.server_version

    # -- databases ---------------------------------------------------------------------------------------------------

    def databases(self) -> list[Database]:
        """All that are greenroom's, oldest first."""
        rows = self._connection.execute(
            f"{marks.DATABASES} WHERE starts_with(datname, %s) ORDER BY oid", [PREFIX]
        ).fetchall()
        return [database for row in rows if (database := marks.database(*row)) is not None]

    def find(self, name: str) -> Database | None:
        """The database of that name if it is greenroom's, or None if there is no such database.

        Raises:
            RefusedError: There is one, and it is not greenroom's.
        """
        row = self._connection.execute(f"{marks.DATABASES} WHERE datname = %s", [name]).fetchone()
        if row is None:
            return None
        found = marks.database(*row)
        if found is None:
            raise RefusedError(
                f"The database {name!r} has a name of greenroom's but not its mark, so greenroom leaves it alone.",
                hint="rename or drop it yourself, if it is yours",
            )
        return found

    def create(
        self,
        name: str,
        kind: Kind,
        *,
        owner: str,
        checkout: str,
        template: str | None = None,
        strategy: str | None = None,
        limit: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Create a database and mark it, and only then give it its name.

        Whoever is killed in between leaves a database that nobody looks for, and not one that is in everybody's way.

        Args:
            name: Its name, which begins with `PREFIX`.
            kind: What it is for.
            owner: The role that owns it.
            checkout: The identity of the checkout that it is for.
            template: The database to clone; by default an empty one.
            strategy: How, of `STATEMENTS`; by default as the template's mark says.
            limit: Milliseconds after which the copying is given up.
            details: What to write down in its mark.
        """
        unnamed = f"{PREFIX}new_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
            sql.Identifier(unnamed), sql.Identifier(owner), sql.Identifier(template or "template0")
        )
        if strategy is None and template is not None and (found := self.find(template)) is not None:
            strategy = next(iter(found.details.get("strategies", ())), None)
        if strategy is not None:
            clause, method = STATEMENTS[strategy]
            statement += sql.SQL(f" {clause}")
            if method is not None and self.version >= 180000:
                self._connection.execute(sql.SQL("SET file_copy_method TO {}").format(method))
        # Marked, but not yet under the name that its run has locked, it would be swept as a dead run's.
        with self.lock(unnamed):
            with self._patient(BUILD), _limited(self._connection, limit):
                self._execute_when_free(statement)
            row = self._connection.execute(f"{marks.DATABASES} WHERE datname = %s", [unnamed]).fetchone()
            assert row is not None
            mark = marks.written(
                oid=row[1],
                cluster=row[2],
                names=[unnamed, name],
                kind=kind,
                checkout=checkout,
                locked_in=self._url.database,
                details=details or {},
            )
            self._comment(unnamed, mark)
            self._made[name] = (row[1], mark)
            if template is not None:
                self._copy_settings(template, unnamed)
            self._execute_when_free(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(unnamed), sql.Identifier(name)
                )
            )

    def complete(self, name: str, **details: Any) -> None:
        """Write more into a template's mark, close it to all connections and declare it ready; the last in one statement."""
        self._mark_again(name)
        row = self._connection.execute(f"{marks.DATABASES} WHERE datname = %s", [name]).fetchone()
        assert row is not None
        mark = marks.role(row[1], row[2], row[4])
        assert mark is not None
        self._made.pop(name, None)
        self._comment(name, marks.written(**mark | {"details": mark["details"] | details}))
        self._connection.execute(
            sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false").format(
                sql.Identifier(name)
            )
        )

    def _comment(self, name: str, mark: str) -> None:
        self._connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), mark))

    def _mark_again(self, name: str) -> None:
        """Mark a database again that this object has made itself, if it has another comment by now: its owner may do that."""
        oid, mark = self._made.get(name, (None, ""))
        row = self._connection.execute(f"{marks.DATABASES} WHERE datname = %s", [name]).fetchone()
        if row is not None and row[1] == oid and row[4] != mark:
            self._comment(name, mark)

    def set_for(self, name: str, **settings: str) -> None:
        """Give a database's sessions other defaults."""
        for setting, value in settings.items():
            self._connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} TO {}").format(
                    sql.Identifier(name), sql.Identifier(setting), value
                )
            )

    def _copy_settings(self, template: str, name: str) -> None:
        """Give a clone the settings that the migrations gave the template with ALTER DATABASE, which are not copied with it."""
        rows = self._connection.execute(
            "SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_database AS d ON d.oid = setdatabase"
            " WHERE setrole = 0 AND datname = %s",
            [template],
        ).fetchall()
        for (text,) in rows:
            setting, _, value = text.partition("=")
            with self._connection.transaction():
                # A list such as search_path is written as one string; as the current value it is a list again.
                self._connection.execute("SELECT set_config(%s, %s, true)", [setting, value])
                self._connection.execute(
                    sql.SQL("ALTER DATABASE {} SET {} FROM CURRENT").format(
                        sql.Identifier(name), sql.Identifier(*setting.split("."))
                    )
                )

    def drop(self, name: str) -> None:
        """Drop a database of greenroom's, ending the connections to it.

        Raises:
            RefusedError: It is not greenroom's.
        """
        self._mark_again(name)
        database = self.find(name)
        if database is None:
            return
        if database.complete:
            self._connection.execute(
                sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE false").format(sql.Identifier(name))
            )
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        try:
            self._connection.execute(statement)
        except psycopg.errors.ObjectInUse:
            if not self._end_prepared(name):
                raise
            self._connection.execute(statement)

    def _end_prepared(self, name: str) -> int:
        """Roll a database's prepared transactions back, which FORCE does not. Returns how many there were."""
        with connect(self._url.set(database=name), autocommit=True) as connection:
            found = connection.execute(
                "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
            ).fetchall()
            for (gid,) in found:
                connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(gid))
        return len(found)

    def sweep(self) -> list[str]:
        """Drop the databases of runs that are dead. Returns their names."""
        dropped = []
        for database in self.databases():
            if database.kind == "run" and database.locked_in == self._url.database:
                with self.lock(database.name, wait=False) as free:
                    if not free:
                        continue
                    try:
                        self.drop(database.name)
                    except psycopg.errors.ObjectInUse:
                        # Held by what FORCE does not end, such as a replication slot: no reason for not running.
                        continue
                    dropped.append(database.name)
        return dropped

    def _execute_when_free(self, statement: sql.Composed) -> None:
        """Execute a command on databases, trying again for 5 s while something else holds on to one of them.

        A template takes no connections, but a process of the server (an autovacuum worker) may be in it for a moment.
        """
        end = time.monotonic() + 5
        while True:
            try:
                self._connection.execute(statement)
            except psycopg.errors.ObjectInUse:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)  # the server has no way to wait for it
            else:
                return

    # -- roles -------------------------------------------------------------------------------------------------------

    def ensure_role(self, name: str, password: str | None, *, beside: Sequence[str] = ()) -> None:
        """Make a role if it is not there, without any right beyond logging in.

        Args:
            name: Its name.
            password: Its password, or None where the server trusts whoever reaches it.
            beside: Roles that it may be a member of, since they are greenroom's, too.

        Raises:
            RefusedError: There is a role of that name, which is not greenroom's or has rights that it must not have.
        """
        with self.lock(f"role {name}"):
            # Not the password itself: all may read a role's comment.
            digest = hashlib.sha256((password or "").encode()).hexdigest()[:16]
            row = self._connection.execute(marks.ROLES, [name]).fetchone()
            if row is None:
                with self._connection.transaction():
                    self._connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
                    self._set_password(name, password, digest)
                return
            mark = marks.role(*row)
            if mark is None:
                raise RefusedError(
                    f"The server has a role {name!r} that greenroom did not make.",
                    hint='choose another name: role = "…" in [tool.greenroom]; or, if an older greenroom made it: greenroom down',
                )
            rights.refuse(self._connection, name, beside=beside)
            if mark.get("password") != digest:
                # The admin's password was changed, from which it is derived.
                with self._connection.transaction():
                    self._set_password(name, password, digest)

    def drop_all(self, checkout: str, roles: Iterable[str], say: Say) -> bool:
        """Drop a checkout's databases that are not in use, and the roles if none is left. True if there was anything.

        Args:
            checkout: The identity of the checkout.
            roles: The roles that its configuration names.
            say: Takes a line for each.
        """
        dropped = False
        for database in self.databases():
            if database.checkout != checkout:
                continue
            with self.lock(database.name, wait=False) as free:
                if free:
                    self.drop(database.name)
                    say(f"dropped {database.name}")
                    dropped = True
        for role in roles if dropped else ():
            if self.drop_role(role):
                say(f"dropped the role {role}")
        return dropped

    def drop_role(self, name: str) -> bool:
        """Drop the application's role if it is greenroom's and nothing on the server is its own any more."""
        with self.lock(f"role {name}"):
            row = self._connection.execute(marks.ROLES, [name]).fetchone()
            if row is None or marks.role(*row) is None:
                return False
            try:
                self._connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
            except psycopg.errors.DependentObjectsStillExist:
                return False
            return True

    def reset_role(self, name: str) -> None:
        """Take away the settings that a test gave the role with ALTER ROLE … SET."""
        self._connection.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(name)))

    def _set_password(self, role: str, password: str | None, digest: str) -> None:
        self._connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), password))
        row = self._connection.execute(marks.ROLES, [role]).fetchone()
        assert row is not None
        mark = marks.written(oid=row[0], cluster=row[1], password=digest)
        self._connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), mark))


@contextlib.contextmanager
def _limited(connection: psycopg.Connection[Any], milliseconds: float | None) -> Iterator[None]:
    """Have the server give up what takes longer, if there is a limit."""
    if milliseconds is None:
        yield
        return
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(round(milliseconds))])
    try:
        yield
    finally:
        connection.execute("RESET statement_timeout")
