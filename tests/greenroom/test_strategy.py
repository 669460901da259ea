"""The way that clones are made is measured on the server, said, and used."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from greenroom.database import strategy
from greenroom.database.admin import Admin
from greenroom.urls import conninfo
from tests.greenroom.conftest import Project


def test_choice_is_said(project: Project) -> None:
    """The run that builds the template says the choice and what it is based on; `migrate --status` says it again."""
    project.write("tests/test_it.py", "def test_it(session): pass")
    project.replace("seed.sql", "INSERT", "-- A template of this test's own.\nINSERT")
    first = project.pytest("tests/test_it.py")
    first.assert_outcomes(passed=1)
    said = re.compile(r"(\w+) \((\d+) ms(?:; \w+ (?:\d+ ms|longer))+\)")
    built = re.search(rf"clones are made by {said.pattern}", first.stderr.str() + first.stdout.str())
    assert built, first.stdout.str()
    numbers = [int(number) for number in re.findall(r"(\d+) ms", built[0])]
    assert numbers == sorted(numbers)
    status = project.greenroom("migrate", "--status").stdout
    assert f"cloned by {built[0].removeprefix('clones are made by ')}" in status
    second = project.pytest("tests/test_it.py")
    assert "clones are made by" not in second.stderr.str() + second.stdout.str()


def test_choice_is_used(project: Project, server_url: str) -> None:
    """A clone is made as its template's mark says: only wal_log writes the pages to the WAL."""
    url = make_url(server_url).set(drivername="postgresql+psycopg", database="postgres")
    written: dict[str, int] = {}
    with psycopg.connect(conninfo(url), autocommit=True) as connection, Admin(url) as admin:
        if not strategy.offered(admin.version):
            pytest.skip("this server has one way only")
        for way in ("wal_log", "file_copy"):
            template, clone = f"greenroom_template_test_{way}", f"greenroom_test_{way}"
            admin.create(template, "template", owner="postgres", checkout="test")
            admin.complete(template, strategies={way: 1.0})
            before = _written(connection)
            admin.create(clone, "run", owner="postgres", checkout="test", template=template)
            written[way] = _written(connection) - before
            admin.drop(clone)
            admin.drop(template)
    assert written["wal_log"] > 1_000_000 > written["file_copy"] > 0


def test_slow_one_is_given_up(server_url: str) -> None:
    """A strategy that is slower than the best takes no longer than that, and leaves nothing: copying waits for a checkpoint."""
    url = make_url(server_url).set(drivername="postgresql+psycopg", database="postgres")
    with psycopg.connect(conninfo(url), autocommit=True) as connection, Admin(url) as admin:
        if not strategy.offered(admin.version):
            pytest.skip("this server has one way only")
        before = connection.execute("SELECT oid FROM pg_database ORDER BY oid").fetchall()
        with admin.lock("greenroom_test_slow"), pytest.raises(psycopg.errors.QueryCanceled):
            admin.create(
                "greenroom_test_slow", "run", owner="postgres", checkout="test", template="template0",
                strategy="file_copy", limit=1,
            )  # fmt: skip
        assert connection.execute("SELECT oid FROM pg_database ORDER BY oid").fetchall() == before
        # The limit is that of one statement.
        admin.create(
            "greenroom_test_slow",
            "run",
            owner="postgres",
            checkout="test",
            template="template0",
            strategy="file_copy",
        )
        admin.drop("greenroom_test_slow")
    assert strategy.said({"wal_log": 60.4, "clone": 61.0, "file_copy": None}) == (
        "wal_log (60 ms; clone 61 ms; file_copy longer)"
    )


def _written(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(row[0])
