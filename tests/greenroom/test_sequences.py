"""Whichever way a sequence was moved, the rewind puts it back: by reading each, or by what the server has logged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, make_url

from greenroom.database.rewind.prepare import prepare
from greenroom.database.rewind.rewinder import Rewinder
from greenroom.urls import conninfo

SCHEMA: Final = """
    CREATE TABLE plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
    CREATE TABLE seeded (id serial PRIMARY KEY, name text UNIQUE);
    INSERT INTO seeded (name) VALUES ('one'), ('two'), ('three');
    CREATE TABLE nothing (id bigint);
    CREATE SEQUENCE new;
    CREATE SEQUENCE used; SELECT nextval('used') FROM generate_series(1, 5);
    CREATE SEQUENCE round MAXVALUE 3 CYCLE; SELECT nextval('round'), nextval('round');
    CREATE SEQUENCE down INCREMENT -3 MAXVALUE 100; SELECT nextval('down');
    CREATE SEQUENCE handful CACHE 10;
    CREATE SEQUENCE "Quoted name";
    CREATE SCHEMA other; CREATE SEQUENCE other.one START 17;
    CREATE SCHEMA crowd;
"""

ROLLED_BACK: Final = "BEGIN; {}; ROLLBACK"

WAYS: Final = {
    "nextval": ["SELECT nextval('new'), nextval('used'), nextval('\"Quoted name\"'), nextval('other.one')"],
    "nextval rolled back": [ROLLED_BACK.format("SELECT nextval('new'), nextval('used')")],
    "nextval in a savepoint": ["BEGIN; SAVEPOINT a; SELECT nextval('used'); ROLLBACK TO a; COMMIT"],
    "nextval in a block that fails": [
        "DO $$ BEGIN PERFORM nextval('used'); RAISE 'no'; EXCEPTION WHEN OTHERS THEN END $$"
    ],
    "nextval more often than one log record holds": ["SELECT nextval('used') FROM generate_series(1, 100)"],
    "setval": ["SELECT setval('new', 50), setval('used', 2)"],
    "setval without a call": ["SELECT setval('new', 50, false), setval('used', 5, false)"],
    "set back and drawn again": ["SELECT setval('used', 4)", "SELECT nextval('used')"],
    "set to where it is": ["SELECT setval('used', 5), setval('new', 1, false)"],
    "once around": ["SELECT nextval('round') FROM generate_series(1, 3)"],
    "downwards": ["SELECT nextval('down')"],
    "with a cache": ["SELECT nextval('handful')"],
    "identity": ["INSERT INTO plain (note) VALUES ('a')"],
    "identity, rolled back": [ROLLED_BACK.format("INSERT INTO plain (note) VALUES ('a')")],
    "default": ["INSERT INTO seeded (name) VALUES ('new')"],
    "default of a row that is refused": ["INSERT INTO seeded (name) VALUES ('one') ON CONFLICT DO NOTHING"],
    "copy": ["COPY plain (note) FROM PROGRAM 'echo a'"],
    "a sequence of another table": ["INSERT INTO nothing VALUES (nextval('plain_id_seq'))"],
    "truncate": ["TRUNCATE seeded"],
    "truncate and restart": ["TRUNCATE seeded, plain RESTART IDENTITY"],
    "truncate, restart and draw at once": [
        "BEGIN; TRUNCATE seeded RESTART IDENTITY; INSERT INTO seeded (name) VALUES ('a'), ('b'), ('c'); COMMIT"
    ],
    "truncate, restart, and draw later": [
        "TRUNCATE seeded RESTART IDENTITY", "INSERT INTO seeded (name) VALUES ('a'), ('b'), ('c')",
    ],
    "truncate and restart, rolled back": [
        ROLLED_BACK.format("INSERT INTO plain (note) VALUES ('a'); TRUNCATE plain, seeded RESTART IDENTITY; SELECT nextval('used')")
    ],
    "after a checkpoint": ["SELECT nextval('new')", "CHECKPOINT", "SELECT nextval('used')"],
    "before a new file of the log": ["SELECT nextval('new'), nextval('used')", "SELECT pg_switch_wal()"],
    "after a new file of the log": ["SELECT pg_switch_wal()", "SELECT nextval('new'), nextval('used')"],
    "in a file of the log that is gone": [
        "SELECT nextval('used')", "SELECT pg_switch_wal()", "CHECKPOINT", "SELECT nextval('new')",
    ],
    "with much that is logged": [
        "SELECT nextval('used')", "INSERT INTO nothing SELECT generate_series(1, 20000)", "SELECT nextval('new')",
    ],
    "all of them": ["SELECT nextval(oid::regclass) FROM pg_class WHERE relkind = 'S'"],
    "none": ["SELECT 1"],
}  # fmt: skip
"""Statements, each committed on its own, and after which each sequence must be as in the template."""

DRAWN: Final = "SELECT nextval('new'), nextval('used'), nextval('round'), nextval('seeded_id_seq'), nextval('plain_id_seq')"


class Place:
    """A database that is prepared, and what rewinds it."""

    def __init__(self, url: URL, *, crowd: int, extra: str = "") -> None:
        self.url = url
        self.connection = psycopg.connect(conninfo(url), autocommit=True)
        self.connection.execute(SCHEMA.encode())
        for number in range(crowd):
            self.connection.execute(f"CREATE SEQUENCE crowd.s{number}".encode())
        self.connection.execute(extra.encode())
        prepare(url)
        self.rewinder = Rewinder(url)
        names = self.connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S'"
        ).fetchall()
        self._all = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, last_value, is_called FROM {}").format(name, sql.SQL(name))
            for (name,) in names
        )
        self.before = self.state()

    def state(self) -> dict[str, tuple[int, bool]]:
        """Where each sequence is."""
        return {name: (value, called) for name, value, called in self.connection.execute(self._all)}

    def execute(self, *statements: str) -> None:
        """Execute each over a connection of its own, as another client would."""
        for statement in statements:
            with psycopg.connect(conninfo(self.url), autocommit=True) as connection:
                connection.execute(statement.encode())

    def is_back(self, *statements: str) -> None:
        """Execute, rewind, and compare."""
        self.execute(*statements)
        self.rewinder.rewind()
        assert self.state() == self.before

    def by_the_log(self) -> bool:
        """Whether the rewind goes by what the server has logged."""
        row = self.connection.execute(
            "SELECT prosrc LIKE '%greenroom.wal(%' FROM pg_proc WHERE proname = 'rewind'"
        ).fetchone()
        assert row is not None
        return bool(row[0])

    def close(self) -> None:
        """Close the connections."""
        self.rewinder.close()
        self.connection.close()


Make = Callable[..., Place]


@pytest.fixture
def make(server_url: str) -> Iterator[Make]:
    """Make such a database; it is dropped at the end."""
    admin = make_url(server_url).set(drivername="postgresql+psycopg", database="postgres")
    made: list[Place] = []

    def execute(statement: str) -> None:
        with psycopg.connect(conninfo(admin), autocommit=True) as connection:
            connection.execute(statement.encode())

    def new(**options: Any) -> Place:
        execute("CREATE DATABASE sequences")
        made.append(Place(admin.set(database="sequences"), **options))
        return made[-1]

    yield new
    for place in made:
        place.close()
    execute("DROP DATABASE IF EXISTS sequences WITH (FORCE)")


@pytest.fixture(params=["few", "many", "many, however much is logged"])
def crowd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many sequences there are besides: few are read, and of many, the server's log is, as far as that takes less time."""
    if request.param == "many, however much is logged":
        monkeypatch.setattr("greenroom.database.rewind.prepare._BYTES", 1_000_000)
    return 0 if request.param == "few" else 150


def test_each_way(make: Make, crowd: int) -> None:
    """Each way to move a sequence, twice, and each time with a draw after the rewind, in a transaction that is rolled back."""
    place = make(crowd=crowd)
    for _ in range(2):
        for name, statements in WAYS.items():
            try:
                place.is_back(*statements)
                place.is_back(ROLLED_BACK.format(DRAWN))
            except AssertionError as error:
                error.add_note(f"the way: {name}")
                raise


def test_many_ways_in_any_order(make: Make, crowd: int) -> None:
    """Hundreds of tests that do a few of these, in an order that nobody has thought of."""
    place = make(crowd=crowd)
    chance = random.Random(crowd)
    for _ in range(150):
        place.is_back(
            *(
                statement
                for name in chance.choices(list(WAYS), k=chance.randint(0, 3))
                for statement in WAYS[name]
            )
        )


def test_one_that_keeps_moving(make: Make, crowd: int) -> None:
    """A transaction that goes on over a rewind, with leave, is the next rewind's: what it draws then is put back by that."""
    place = make(crowd=crowd)
    with psycopg.connect(conninfo(place.url)) as going:
        going.execute("SELECT nextval('used')")
        place.rewinder.accept_transactions([going.info.backend_pid])
        place.is_back("SELECT nextval('new')")
        going.execute("SELECT nextval('used'), nextval('new')")
        place.is_back()
        going.execute("SELECT nextval('used')")
        going.rollback()
    place.is_back()


def test_above_a_baseline(make: Make, crowd: int) -> None:
    """What a fixture of wider scope has drawn stays drawn, and a test's draws after it are put back to there."""
    place = make(crowd=crowd)
    place.is_back("SELECT nextval('used')")
    for depth in (1, 2):
        place.execute(
            "SELECT nextval('used')", "INSERT INTO seeded (name) VALUES ('of the fixture " + str(depth) + "')"
        )
        assert place.rewinder.absorb(depth)
        before, place.before = place.before, place.state()
        assert before != place.before
        for statements in WAYS.values():
            place.is_back(*statements)
            place.is_back(ROLLED_BACK.format(DRAWN))
    assert place.rewinder.baselines.drop(2)
    place.before = before
    place.is_back("SELECT nextval('used')")
    place.is_back(ROLLED_BACK.format(DRAWN))


def test_another_database_of_the_server(make: Make, server_url: str) -> None:
    """Sequences of the same number in a clone are another database's affair."""
    place = make(crowd=150)
    place.close()
    admin = make_url(server_url).set(drivername="postgresql+psycopg", database="postgres")
    with psycopg.connect(conninfo(admin), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS sequences_copy WITH (FORCE)")
        connection.execute("CREATE DATABASE sequences_copy TEMPLATE sequences")
        try:
            ours, theirs = Rewinder(place.url), Rewinder(place.url.set(database="sequences_copy"))
            place.rewinder, place.connection = ours, psycopg.connect(conninfo(place.url), autocommit=True)
            theirs.rewind()
            with psycopg.connect(
                conninfo(place.url.set(database="sequences_copy")), autocommit=True
            ) as other:
                for _ in range(3):
                    other.execute("SELECT nextval('used')")
                    place.is_back("SELECT nextval('new')")
                    assert other.execute("SELECT last_value FROM used").fetchone() == (6,)
                    theirs.rewind()
                    assert other.execute("SELECT last_value FROM used").fetchone() == (5,)
            theirs.close()
        finally:
            connection.execute("DROP DATABASE sequences_copy WITH (FORCE)")


def test_when_it_goes_by_the_log(make: Make) -> None:
    """It does with many sequences, on a server that was tried and does not wait for its disk; and not for an unlogged one."""
    place = make(crowd=150)
    row = place.connection.execute(
        "SELECT current_setting('server_version_num')::int / 10000 = 18 AND current_setting('fsync') = 'off'"
    ).fetchone()
    assert place.by_the_log() == row[0] if row else False


@pytest.mark.parametrize(
    "extra",
    [
        "CREATE UNLOGGED TABLE volatile (id int GENERATED ALWAYS AS IDENTITY)",
        "DO $$ BEGIN FOR i IN 0..119 LOOP PERFORM nextval(format('crowd.s%s', i)); END LOOP; END $$",
    ],
    ids=["one is not logged", "many are called"],
)
def test_when_it_does_not(make: Make, extra: str) -> None:
    """A sequence that is not logged, or many that would have to be set where the log does not help: each is read."""
    place = make(crowd=150, extra=extra)
    assert not place.by_the_log()
    for statements in WAYS.values():
        place.is_back(*statements)
    place.is_back("SELECT nextval(oid::regclass) FROM pg_class WHERE relkind = 'S'")
