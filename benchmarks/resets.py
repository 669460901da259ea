"""Bringing a database back between two tests: greenroom's rewind and the other ways to do it, on one schema."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
from psycopg import sql
from pytest_clean_db.connection import create_connection
from pytest_clean_db.dialect import postgres as clean_database
from pytest_postgresql.janitor import DatabaseJanitor
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.orm import Session

from benchmarks.measure import Contender, Measured, side_by_side
from greenroom.database.rewind.prepare import prepare
from greenroom.database.rewind.rewinder import Rewinder
from greenroom.urls import conninfo

SHAPES: Final = [(5, 3), (20, 1), (20, 3), (20, 5), (20, 20), (100, 3), (500, 3)]
"""How many tables there are, and how many of them a test writes to."""


def statements(tables: int) -> str:
    """A schema of so many tables: a primary key by identity, text, a time, and a foreign key to the table before."""
    return "\n".join(
        f"CREATE TABLE t{number} (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,"
        f" made_at timestamptz NOT NULL DEFAULT now(), other int {f'REFERENCES t{number - 1}' if number else ''});"
        f"CREATE INDEX ON t{number} (name);"
        for number in range(tables)
    )


def insert(number: int) -> str:
    """What a test does to one table: a row."""
    return f"INSERT INTO t{number} (name) VALUES ('a name')"


class Place:
    """One database of the benchmark's server, and what the contenders need to have it to themselves.

    Args:
        admin: The server's maintenance database, as a superuser.
        name: The database.
    """

    def __init__(self, admin: URL, name: str) -> None:
        self.admin = admin
        self.name = name
        self.url = admin.set(database=name)

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        """A connection to the database, or to another one."""
        return psycopg.connect(conninfo(self.admin.set(database=database or self.name)), autocommit=True)

    def on_server(self, *statements: str) -> None:
        """Execute statements in the maintenance database."""
        with self.connect("postgres") as connection:
            for statement in statements:
                connection.execute(statement)


Way = Callable[[Place, int, int], Iterator[Contender]]
"""Takes the place, the number of tables and of those touched; yields the contender, and cleans up afterwards."""


def _committed(connection: psycopg.Connection[Any], touched: int) -> None:
    """A test: it writes to some tables and commits."""
    with connection.transaction():
        for number in range(touched):
            connection.execute(insert(number))


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def rewind(place: Place, _tables: int, touched: int) -> Iterator[Contender]:
    """Greenroom."""
    prepare(place.url)
    rewinder = Rewinder(place.url)
    with place.connect() as connection:

        def once() -> float:
            _committed(connection, touched)
            return _timed(rewinder.rewind)

        yield once
    rewinder.close()


def clone(place: Place, _tables: int, touched: int) -> Iterator[Contender]:
    """A clone for each test from a template that is kept, over one admin connection, as pgtestdb does it (in Go)."""
    database, template = f"{place.name}_clone", f"{place.name}_template"
    place.on_server(f"CREATE DATABASE {template} TEMPLATE {place.name} IS_TEMPLATE true")
    admin = place.connect("postgres")
    current = [admin]

    def renew() -> None:
        if current[0] is not admin:
            current[0].close()
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
        admin.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
        current[0] = place.connect(database)

    renew()

    def once() -> float:
        _committed(current[0], touched)
        return _timed(renew)

    yield once
    current[0].close()
    admin.close()
    place.on_server(
        f"DROP DATABASE {database}",
        f"ALTER DATABASE {template} IS_TEMPLATE false",
        f"DROP DATABASE {template}",
    )


def janitor(place: Place, _tables: int, touched: int) -> Iterator[Contender]:
    """A clone for each test as pytest-postgresql makes it: with its DatabaseJanitor."""
    template = f"{place.name}_origin"
    place.on_server(f"CREATE DATABASE {template} TEMPLATE {place.name}")
    its = DatabaseJanitor(
        user=str(place.admin.username),
        host=str(place.admin.query["host"]),
        port=5432,
        dbname=f"{place.name}_janitor",
        template_dbname=template,
    )
    its.init()
    current = [place.connect(its.dbname)]

    def renew() -> None:
        current[0].close()
        its.drop()
        its.init()
        current[0] = place.connect(its.dbname)

    def once() -> float:
        _committed(current[0], touched)
        return _timed(renew)

    yield once
    current[0].close()
    its.drop()
    place.on_server(f"DROP DATABASE {template}")


def truncate(place: Place, tables: int, touched: int) -> Iterator[Contender]:
    """One TRUNCATE that names all tables."""
    everything = f"TRUNCATE {', '.join(f't{number}' for number in range(tables))} RESTART IDENTITY CASCADE"
    with place.connect() as connection:

        def once() -> float:
            _committed(connection, touched)
            return _timed(lambda: connection.execute(everything))

        yield once


def delete(place: Place, tables: int, touched: int) -> Iterator[Contender]:
    """DELETE from each table, in the order of the foreign keys, in one transaction as SQLAlchemy's metadata has it.

    Sequences go on counting.
    """
    order = [sql.SQL("DELETE FROM {}").format(sql.Identifier(f"t{number}")) for number in range(tables)][::-1]

    def all_of_them(connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            for statement in order:
                connection.execute(statement)

    with place.connect() as connection:

        def once() -> float:
            _committed(connection, touched)
            return _timed(lambda: all_of_them(connection))

        yield once


def triggers(place: Place, _tables: int, touched: int) -> Iterator[Contender]:
    """pytest-clean-database, by its own functions: a trigger on each table, TRUNCATE of those that had an INSERT.

    Deletions and updates of seeded rows go unnoticed.
    """
    its = create_connection(place.url.set(drivername="postgresql").render_as_string(hide_password=False))
    clean_database.setup_tracing("public", its)
    with place.connect() as connection:

        def once() -> float:
            _committed(connection, touched)
            return _timed(lambda: clean_database.run_clean_tables("public", its))

        yield once
    its.close()


def savepoints(place: Place, _tables: int, touched: int) -> Iterator[Contender]:
    """SQLAlchemy's recipe: one connection, an outer transaction, a session whose commits are savepoints.

    Other connections do not see what it commits; sequences go on counting.
    """
    engine = create_engine(place.url)
    current: list[tuple[Connection, Session]] = []

    def begin() -> None:
        connection = engine.connect()
        connection.begin()
        current[:] = [(connection, Session(connection, join_transaction_mode="create_savepoint"))]

    def end() -> None:
        connection, session = current[0]
        session.close()
        connection.rollback()
        connection.close()

    def renew() -> None:
        end()
        begin()

    def once() -> float:
        for number in range(touched):
            current[0][1].execute(text(insert(number)))
        current[0][1].commit()
        return _timed(renew)

    begin()
    yield once
    end()
    engine.dispose()


def floor(place: Place, _tables: int, touched: int) -> Iterator[Contender]:
    """ROLLBACK and BEGIN on one connection: the least that anything can take. Nothing is ever committed."""
    with place.connect() as connection:
        connection.execute("BEGIN")

        def renew() -> None:
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")

        def once() -> float:
            for number in range(touched):
                connection.execute(insert(number))
            return _timed(renew)

        yield once
        connection.execute("ROLLBACK")


WAYS: Final[dict[str, Way]] = {
    "greenroom: rewind": rewind,
    "BEGIN … ROLLBACK (floor; no commits)": floor,
    "outer transaction, savepoints": savepoints,
    "pytest-clean-database: triggers": triggers,
    "DELETE from all": delete,
    "TRUNCATE all": truncate,
    "clone per test (as pgtestdb)": clone,
    "clone per test (pytest-postgresql)": janitor,
}


def measure(admin: URL, *, seconds: float) -> dict[str, dict[str, Measured]]:
    """The reset between two tests, for each shape and way.

    Args:
        admin: The maintenance database of a server, as a superuser.
        seconds: How long each way may take for each shape.

    Returns:
        By `"20 tables, 3 touched"`, and then by way.
    """
    return {
        f"{tables} tables, {touched} touched": _measure(admin, tables, touched, seconds)
        for tables, touched in SHAPES
    }


def _measure(admin: URL, tables: int, touched: int, seconds: float) -> dict[str, Measured]:
    with contextlib.ExitStack() as stack:
        contenders = {}
        for number, (name, way) in enumerate(WAYS.items()):
            place = Place(admin, f"bench_{tables}_{touched}_{number}")
            place.on_server(f"CREATE DATABASE {place.name} STRATEGY file_copy")
            stack.callback(place.on_server, f"DROP DATABASE {place.name} WITH (FORCE)")
            with place.connect() as connection:
                connection.execute(statements(tables))
            contenders[name] = stack.enter_context(contextlib.contextmanager(way)(place, tables, touched))
        return side_by_side(contenders, seconds=seconds)
