"""The rewind is exact: after a test that did anything, the next one finds the full contents of the template."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from greenroom import config
from greenroom.database.rewind.prepare import prepare
from greenroom.database.rewind.rewinder import Rewinder, Rewound
from greenroom.output import silent
from greenroom.servers import instance
from greenroom.servers.embedded import Embedded
from greenroom.urls import conninfo
from tests.greenroom.conftest import PROJECTS, Project

STATEMENTS = {
    "insert": ["INSERT INTO plain (note) VALUES ('a'), ('b')"],
    "update of seeds": ["UPDATE seeded SET name = upper(name), large = 'short' WHERE id > 1"],
    "update of one column that has no =": ["""UPDATE seeded SET raw = '{"b":1, "a":2}' WHERE id = 1"""],
    "update of a key": ["UPDATE seeded SET id = DEFAULT WHERE id = 1"],
    "types of the project": [
        "UPDATE typed SET code = lower(code)::code", "UPDATE typed SET place.street = 'b' WHERE mood = 'wild'",
        "DELETE FROM typed WHERE mood = 'calm'", "INSERT INTO typed VALUES ('calm', 'new', '{calm}', NULL)",
    ],
    "types of the project, without a key": ["UPDATE typed_without_key SET code = upper(code)"],
    "types of the project dropped": [
        "DROP TABLE typed, typed_without_key, seeded", "DROP TYPE place, mood, visit", "DROP DOMAIN code, moment",
    ],
    "delete of seeds": ["DELETE FROM seeded", "DELETE FROM seeded_without_key"],
    "duplicate of a seed": ["INSERT INTO seeded_without_key VALUES ('a')"],
    "truncate": ["TRUNCATE seeded, plain RESTART IDENTITY", "TRUNCATE seeded_without_key"],
    "truncate with cascade": ["TRUNCATE node CASCADE"],
    "quoted names": ["""UPDATE "Odd Schema"."Odd ""Table" SET "select" = 'where'"""],
    "serial": ["""INSERT INTO "Odd Schema"."Odd ""Table" ("select") VALUES ('x'), ('y')"""],
    "sequence called": ["SELECT nextval('free_standing'), nextval('used_already')"],
    "sequence set": ["SELECT setval('free_standing', 5000), setval('used_already', 3)"],
    "sequence set but not called": ["SELECT setval('free_standing', 5000, false), setval('used_already', 7, false)"],
    "sequence restarted": ["SELECT setval('used_already', 1, false)"],
    "cycle": ["BEGIN; INSERT INTO hen VALUES (1, 1); INSERT INTO egg VALUES (1, 1); COMMIT"],
    "self-reference with cascade": ["DELETE FROM node WHERE id = 1"],
    "set null": ["DELETE FROM node WHERE id = 3"],
    "audit trigger": ["INSERT INTO audited VALUES (1), (2)", "DELETE FROM audited WHERE id = 1"],
    "trigger that fires always": ["INSERT INTO loud VALUES (2)", "DELETE FROM loud WHERE id = 1"],
    "rule": ["INSERT INTO ruled VALUES (1)", "DELETE FROM ruled"],
    "partitions through the parent": [
        "INSERT INTO measured VALUES ('2024-02-02', 3), ('2031-01-01', 4)",
        "UPDATE measured SET at = '2019-01-01' WHERE value = 1",
    ],
    "partition itself": ["DELETE FROM measured_2024", "INSERT INTO measured_rest VALUES ('1999-01-01', 5)"],
    "inheritance through the parent": ["UPDATE animal SET name = 'Felix'", "INSERT INTO animal VALUES (2, 'Rex')"],
    "inheritance itself": ["DELETE FROM cat"],
    "unlogged": ["INSERT INTO fleeting VALUES (1)"],
    "row-level security": ["BEGIN; SET LOCAL app.owner = 'a'; INSERT INTO secret VALUES ('a', 1); COMMIT"],
    "materialized view": ["INSERT INTO plain (note) VALUES ('a')", "REFRESH MATERIALIZED VIEW summary"],
    "materialized view, concurrently": ["INSERT INTO plain (note) VALUES ('a')", "REFRESH MATERIALIZED VIEW CONCURRENTLY summary"],
    "merge": ["MERGE INTO leaf USING node ON leaf.id = node.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (node.id, NULL)"],
    "on conflict": ["INSERT INTO seeded (name) VALUES ('one'), ('four') ON CONFLICT (name) DO UPDATE SET name = 'five'"],
    "on conflict do nothing, which calls the sequence": ["INSERT INTO seeded (name) VALUES ('one') ON CONFLICT DO NOTHING"],
    "insert rolled back, which calls the sequence": ["BEGIN; INSERT INTO plain (note) VALUES ('a'); ROLLBACK"],
    "exclusion constraint": ["UPDATE booking SET room = '[7,9)' WHERE room @> 1", "INSERT INTO booking VALUES ('[1,2)')"],
    "view that can be written to": ["INSERT INTO seen (note) VALUES ('through the view')"],
    "large object made": ["SELECT lo_from_bytea(0, '\\xbeef')"],
    "large object changed": ["SELECT lo_put(4711, 0, '\\xffff')"],
    "large object removed": ["SELECT lo_unlink(4711)"],
    "triggers and foreign keys off": ["ALTER TABLE leaf DISABLE TRIGGER USER", "INSERT INTO leaf VALUES (9, NULL)"],
    "create table": ["CREATE TABLE scratch (id serial)", "INSERT INTO scratch DEFAULT VALUES"],
    "create table as": ["CREATE TABLE scratch AS SELECT * FROM seeded"],
    "drop table": ["DROP TABLE egg CASCADE"],
    "drop trigger": ["DROP TRIGGER greenroom_touch ON plain", "INSERT INTO plain (note) VALUES ('unseen')"],
    "alter table": ["ALTER TABLE seeded DROP COLUMN tags", "ALTER TABLE plain ADD COLUMN more int DEFAULT 3"],
    "index": ["CREATE INDEX ON plain (note)"],
    "type": ["CREATE TYPE shape AS ENUM ('round')", "ALTER TYPE mood ADD VALUE 'sleepy'"],
    "function": ["CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f"],
    "schema": ["CREATE SCHEMA another", "CREATE TABLE another.one (id int)"],
    "grant": ["GRANT SELECT ON plain TO PUBLIC"],
    "policy": ["DROP POLICY own ON secret"],
    "temporary table": ["CREATE TEMPORARY TABLE scratch (id int)"],
    "temporary table in the way": ["CREATE TEMPORARY TABLE plain (id int)", "INSERT INTO pg_temp.plain VALUES (1)"],
    "setting of the database": ["DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' SET work_mem = ''7MB'''; END $$"],
    "setting of the role": ["ALTER ROLE greenroom_app SET work_mem = '9MB'"],
    "setting of the role in the database": [
        "DO $$ BEGIN EXECUTE 'ALTER ROLE greenroom_app IN DATABASE ' || quote_ident(current_database()) || ' SET work_mem = ''8MB'''; END $$"
    ],
    "limit on connections": ["DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' CONNECTION LIMIT 50'; END $$"],
    "rights on the database": ["DO $$ BEGIN EXECUTE 'REVOKE ALL ON DATABASE ' || quote_ident(current_database()) || ' FROM PUBLIC'; END $$"],
    "database as a template": ["DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' IS_TEMPLATE true'; END $$"],
    "comment on the database": ["DO $$ BEGIN EXECUTE 'COMMENT ON DATABASE ' || quote_ident(current_database()) || ' IS ''mine'''; END $$"],
    "comments": ["COMMENT ON TABLE plain IS 'plain'", "COMMENT ON COLUMN seeded.name IS 'a name'", "COMMENT ON LARGE OBJECT 4711 IS 'x'"],
    "parameters of a sequence": ["ALTER SEQUENCE free_standing INCREMENT 7 CYCLE"],
    "default rights": ["ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"],
    "rights on a column, a function and a large object": [
        "GRANT UPDATE (name) ON seeded TO PUBLIC", "REVOKE ALL ON FUNCTION write_audit() FROM PUBLIC", "GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",
    ],
    "constraint and default": ["ALTER TABLE plain ADD CHECK (note <> '')", "ALTER TABLE plain ALTER COLUMN note SET DEFAULT 'none'"],
    "view and rule": ["CREATE OR REPLACE VIEW seen AS SELECT id, upper(note) AS note FROM plain", "DROP RULE keep_all ON ruled"],
    "row-level security switched off": ["ALTER TABLE secret NO FORCE ROW LEVEL SECURITY", "ALTER TABLE secret DISABLE ROW LEVEL SECURITY"],
    "partition taken off": ["ALTER TABLE measured DETACH PARTITION measured_2024"],
    "statistics": ["CREATE STATISTICS pair ON id, name FROM seeded", "ANALYZE plain", "ANALYZE seeded"],
    "cluster and reindex": ["CLUSTER seeded USING seeded_pkey", "REINDEX TABLE seeded"],
    "all that the role owns": ["DROP OWNED BY CURRENT_USER CASCADE"],
    "extension's type": ["CREATE TABLE scratch (name citext)", "INSERT INTO scratch VALUES ('A')"],
    "rolled back": ["BEGIN; DROP TABLE egg CASCADE; DELETE FROM seeded; ROLLBACK"],
}  # fmt: skip
"""What the tests of the inner run do, each as the application's role and each statement committed."""


@pytest.fixture
def zoo(project: Project) -> Project:
    """A project whose schema has one of each, and whose tests check that they find the template's contents."""
    return _with_animals(project)


@pytest.fixture
def embedded_zoo(embedded_project: Project) -> Project:
    """The same with a server of its own."""
    return _with_animals(embedded_project)


def _with_animals(project: Project) -> Project:
    for file in (PROJECTS / "zoo").iterdir():
        shutil.copy(file, project.root)
    return project


def test_whatever_a_statement_did(zoo: Project) -> None:
    """Each statement is followed by tests that compare all rows, sequences and the catalogue with the first test's."""
    tests = ["def test_first(): pass\n"]
    for number, (name, statements) in enumerate(STATEMENTS.items()):
        title = re.sub(r"\W+", "_", name)
        tests.append(f"def test_{number:02}_{title}(execute):\n    execute(*{statements!r})\n")
    zoo.write("test_zoo.py", "\n\n".join([*tests, "def test_last(): pass\n"]))
    result = zoo.pytest("test_zoo.py")
    result.assert_outcomes(passed=len(STATEMENTS) + 2)


def test_whatever_a_statement_did_above_a_baseline(zoo: Project) -> None:
    """The same where a fixture of the session has written to each kind of table: its rows are what is rewound to."""
    statements = [
        statement
        for title in (
            "insert", "update of seeds", "types of the project", "delete of seeds", "quoted names", "serial", "sequence called",
            "self-reference with cascade", "audit trigger", "partitions through the parent",
            "inheritance through the parent", "unlogged", "row-level security", "exclusion constraint",
        )
        for statement in STATEMENTS[title]
    ]  # fmt: skip
    tests = [
        f"""
import psycopg, pytest
from conftest import contents, first

@pytest.fixture(autouse=True)
def exactly_as_migrated(admin):
    # Greenroom's own tables have other oids in a fresh clone, so the numbers that stand for the catalogue are left out.
    found = {{
        key: value for key, value in contents(admin).items()
        if (key[0] != "greenroom" if isinstance(key, tuple) else not key.startswith(("pg_", "SELECT")))
    }}
    assert found == first.setdefault("contents", found)
    assert ("public", "seeded") in found and "used_already" in found

@pytest.fixture(scope="session", autouse=True)
def _written(sync_database_url):
    with psycopg.connect(sync_database_url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in {statements!r}:
            connection.execute(statement)

def test_first(): pass
"""
    ]
    for number, (name, own) in enumerate(STATEMENTS.items()):
        title = re.sub(r"\W+", "_", name)
        tests.append(f"def test_{number:02}_{title}(execute):\n    execute(*{_that_work(own)!r})\n")
    zoo.write("test_zoo.py", "\n\n".join([*tests, "def test_last(): pass\n"]))
    zoo.pytest("-p", "no:randomly").assert_outcomes(passed=len(STATEMENTS) + 2)


def _that_work(statements: list[str]) -> list[str]:
    """Those statements, each allowed to fail: with rows of the session's fixture some violate a constraint."""
    return [
        statement
        if statement.startswith(("BEGIN", "DO"))
        else f"DO $try$ BEGIN EXECUTE $text${statement}$text$; EXCEPTION WHEN integrity_constraint_violation THEN NULL; END $try$"
        for statement in statements
    ]


def test_whatever_another_client_did(zoo: Project) -> None:
    """What is written over other connections than SQLAlchemy's is rewound, too: raw drivers, COPY, psql in a process of its own."""
    zoo.write(
        "test_zoo.py",
        """
        import asyncio
        import os
        import subprocess

        import asyncpg
        import psycopg
        from greenroom.servers import program

        def dsn(url):
            return url.replace("+psycopg", "")

        def test_first():
            pass

        def test_psycopg(sync_database_url):
            with psycopg.connect(dsn(sync_database_url)) as connection:
                connection.execute("DELETE FROM seeded")
                with connection.cursor().copy("COPY plain (note) FROM STDIN") as copy:
                    copy.write_row(["copied"])

        def test_asyncpg_on_a_loop_of_its_own(sync_database_url):
            async def write():
                connection = await asyncpg.connect(dsn(sync_database_url))
                await connection.copy_records_to_table("leaf", records=[(7, None), (8, 1)])
                await connection.execute("TRUNCATE seeded_without_key")
                await connection.close()

            asyncio.run(write())

        def test_psql(sync_database_url):
            psql = program("psql") or "psql"
            statements = ["-c", "UPDATE seeded SET name = upper(name)", "-c", "SELECT nextval('free_standing')"]
            subprocess.run([psql, dsn(sync_database_url), "-qAt", *statements], check=True)

        def test_superuser_whose_triggers_are_off(admin):
            admin.execute("SET session_replication_role = replica")
            admin.execute("INSERT INTO plain (note) VALUES ('unseen by triggers of users')")

        def test_last():
            pass
        """,
    )
    zoo.pytest("test_zoo.py").assert_outcomes(passed=6)


def test_tables_of_an_extension(zoo: Project, server_url: str, tmp_path: Path) -> None:
    """Rows and sequences of tables that an extension has made are rewound like all others."""
    url = make_url(server_url).set(drivername="postgresql")
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / "ledger.control").write_text("default_version = '1'\nrelocatable = true\n")
    (folder / "ledger--1.sql").write_text(
        "CREATE TABLE ledger (id bigserial PRIMARY KEY, what text); INSERT INTO ledger (what) VALUES ('first');"
        "GRANT ALL ON ledger, ledger_id_seq TO PUBLIC;"
    )
    for path in (*reversed(tmp_path.parents), tmp_path, folder):
        if path.stat().st_uid == os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)  # the server may run as another user
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("before 18, extensions must be in the server's own folder")
        connection.execute(
            sql.SQL("ALTER ROLE postgres SET extension_control_path TO {}").format(f"{tmp_path}:$system")
        )
        try:
            zoo.replace("pyproject.toml", '["citext"]', '["citext", "ledger"]')
            zoo.write(
                "test_zoo.py",
                """
                def test_first(): pass
                def test_write(execute): execute("INSERT INTO ledger (what) VALUES ('more')", "UPDATE ledger SET what = 'x'")
                def test_last(): pass
                """,
            )
            zoo.pytest("test_zoo.py").assert_outcomes(passed=3)
        finally:
            connection.execute("ALTER ROLE postgres RESET extension_control_path")


@pytest.mark.parametrize(("cores", "connections"), [(2, 200), (64, 768)])
def test_connections(
    embedded_zoo: Project, monkeypatch: pytest.MonkeyPatch, cores: int, connections: int
) -> None:
    """A server on a machine with many cores has connections for as many workers."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    settings = config.load(embedded_zoo.root)
    assert settings is not None
    server = Embedded.for_checkout(settings)
    server.start(silent)
    try:
        with psycopg.connect(conninfo(server.admin)) as connection:
            assert connection.execute("SHOW max_connections").fetchone() == (str(connections),)
    finally:
        server.remove(silent)


def test_autovacuum_at_work(embedded_zoo: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that vacuums and analyses all the time, as others than greenroom's own do, disturbs no rewind."""
    for name, value in AUTOVACUUM.items():
        monkeypatch.setitem(instance.SETTINGS, name, value)
    settings = config.load(embedded_zoo.root)
    assert settings is not None
    Embedded.for_checkout(settings).start(silent)
    tables = "'plain', 'seeded', 'leaf'"
    embedded_zoo.write(
        "test_zoo.py",
        f"""
        import time
        import pytest

        VACUUMS = "SELECT sum(autovacuum_count + autoanalyze_count) FROM pg_stat_user_tables WHERE relname IN ({tables})"

        @pytest.mark.parametrize("number", range(60))
        def test_write(execute, number):
            execute(
                "INSERT INTO plain (note) SELECT 'note' FROM generate_series(1, 300)",
                "UPDATE seeded SET name = upper(name)",
                "DELETE FROM leaf",
            )

        def test_vacuums(admin, execute):
            end = time.monotonic() + 30
            while admin.execute(VACUUMS).fetchone() == (0,) and time.monotonic() < end:
                execute("INSERT INTO plain (note) SELECT 'note' FROM generate_series(1, 300)")
            assert admin.execute(VACUUMS).fetchone() > (0,)

        def test_last(): pass
        """,
    )
    result = embedded_zoo.pytest("test_zoo.py")
    result.assert_outcomes(passed=62)


AUTOVACUUM = {
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    "autovacuum_vacuum_threshold": "10",
    "track_counts": "on",
}


def test_ten_thousand_rewinds(server_url: str) -> None:
    """Neither the tables nor the catalogue nor the rewind's own tables grow with the rewinds."""
    admin = make_url(server_url).set(drivername="postgresql+psycopg", database="postgres")
    with psycopg.connect(conninfo(admin), autocommit=True) as connection:
        connection.execute("CREATE DATABASE many_rewinds")
    url = admin.set(database="many_rewinds")
    try:
        with psycopg.connect(conninfo(url), autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);"
                "CREATE TABLE child (id serial PRIMARY KEY, parent_id int REFERENCES parent, name text);"
                "CREATE INDEX ON child (name); INSERT INTO parent (name) SELECT 'seed' FROM generate_series(1, 50)"
            )
            prepare(url)
            rewinder = Rewinder(url)
            sizes: list[int] = []
            for number in range(10_000):
                connection.execute(
                    "WITH new AS (INSERT INTO parent (name) VALUES (repeat('a', 100)) RETURNING id)"
                    " INSERT INTO child (parent_id, name) SELECT id, repeat('b', 100) FROM new"
                )
                if number % 10 == 0:
                    connection.execute("UPDATE parent SET name = upper(name)")
                assert rewinder.rewind() == Rewound()
                if number % 250 == 249:
                    row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
                    assert row is not None
                    sizes.append(row[0])
            rewinder.close()
        # Between two VACUUMs it goes up and down: what must not rise are the peaks.
        assert max(sizes[20:]) - max(sizes[:20]) <= 256 * 1024, sizes
    finally:
        with psycopg.connect(conninfo(admin), autocommit=True) as connection:
            connection.execute("DROP DATABASE many_rewinds WITH (FORCE)")


def test_whatever_a_connection_left(zoo: Project) -> None:
    """Prepared transactions, advisory locks and open transactions fail the test that left them, and only that."""
    zoo.write(
        "test_zoo.py",
        """
        import pytest
        from sqlalchemy import text

        connections = []

        def test_first():
            pass

        def test_prepared(engine):
            with engine.connect() as connection:
                connection.execute(text("INSERT INTO plain (note) VALUES ('prepared')"))
                connection.execute(text("PREPARE TRANSACTION 'left behind'"))

        def test_advisory_lock(execute):
            execute("SELECT pg_advisory_lock(42)")

        def test_open_transaction(engine):
            connection = engine.connect()
            connection.execute(text("DELETE FROM seeded"))
            connections.append(connection)

        def test_only_read(engine):
            connection = engine.connect()
            connection.execute(text("SELECT * FROM seeded FOR UPDATE"))
            connections.append(connection)

        def test_last(execute):
            execute("SELECT pg_advisory_lock(42)", "SELECT pg_advisory_unlock(42)")
            execute("UPDATE seeded SET name = upper(name)")
        """,
    )
    result = zoo.pytest("test_zoo.py", "-W", "ignore::pytest.PytestUnraisableExceptionWarning")
    result.assert_outcomes(passed=6, errors=4)
    result.stdout.fnmatch_lines([
        "*ERROR at teardown of test_prepared*",
        "*prepared for * s, last statement \"PREPARE TRANSACTION 'left behind'\"*",
        "*ERROR at teardown of test_advisory_lock*",
        "*idle, holding an advisory lock for *",
        "*ERROR at teardown of test_open_transaction*",
        "*idle in transaction for * s, last statement 'DELETE FROM seeded'*",
        "*ERROR at teardown of test_only_read*",
        "*idle in transaction for * s, last statement 'SELECT * FROM seeded FOR UPDATE'*",
    ])  # fmt: skip


COMMENT = (
    "DO $$ BEGIN EXECUTE 'COMMENT ON DATABASE ' || quote_ident(current_database()) || ' IS ''mine'''; END $$"
)


def test_comments_on_databases(zoo: Project, server_url: str) -> None:
    """A migration or a test may comment on its own database, where greenroom's mark is: the run removes its databases all the same."""
    zoo.write("schema.sql", f"{(zoo.root / 'schema.sql').read_text()}\n{COMMENT};\n")
    zoo.write(
        "test_zoo.py",
        f"""
        import psycopg

        def test_scratch(scratch_database):
            url = scratch_database.set(drivername="postgresql").render_as_string(hide_password=False)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute({COMMENT!r})

        def test_own(execute):
            execute({COMMENT!r})

        def test_last(execute):
            execute({COMMENT!r})
        """,
    )
    url = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    runs = r"SELECT datname FROM pg_database WHERE datname ~ '^greenroom_(\w+_(main|scratch_\w+)|new_\w+)$'"
    with psycopg.connect(url, autocommit=True) as connection:
        before = connection.execute(runs).fetchall()
        for _ in range(2):
            zoo.pytest("test_zoo.py").assert_outcomes(passed=3)
        assert connection.execute(runs).fetchall() == before
