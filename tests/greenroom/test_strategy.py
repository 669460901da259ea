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
    said = re.compile(r"(\w+) \((\d+) ms; \w+ (\d+) ms(; \w+ (\d+) ms)?\)")
    built = re.search(rf"clones are made by {said.pattern}", first.stderr.str() + first.stdout.str())
    assert built, first.stdout.str()
    assert int(built[2]) <= int(built[3])
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


def _written(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(row[0])
