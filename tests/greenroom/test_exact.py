"""The rewind is exact: after a test that did anything, the next one finds the full contents of the template."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.greenroom.conftest import PROJECTS, Project

STATEMENTS = {
    "insert": ["INSERT INTO plain (note) VALUES ('a'), ('b')"],
    "update of seeds": ["UPDATE seeded SET name = upper(name), large = 'short' WHERE id > 1"],
    "update of one column that has no =": ["""UPDATE seeded SET raw = '{"b":1, "a":2}' WHERE id = 1"""],
    "update of a key": ["UPDATE seeded SET id = DEFAULT WHERE id = 1"],
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
    "extension's type": ["CREATE TABLE scratch (name citext)", "INSERT INTO scratch VALUES ('A')"],
    "rolled back": ["BEGIN; DROP TABLE egg CASCADE; DELETE FROM seeded; ROLLBACK"],
}  # fmt: skip
"""What the tests of the inner run do, each as the application's role and each statement committed."""


@pytest.fixture
def zoo(project: Project) -> Project:
    """A project whose schema has one of each, and whose tests check that they find the template's contents."""
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
