"""What greenroom itself did to a test is said in its report, and of several errors one is told as the cause."""

from __future__ import annotations

from pathlib import Path

from tests.greenroom.conftest import Project
from tests.greenroom.test_explain_pasted import greenroom


def test_left_transaction(project: Project) -> None:
    """A test that leaves a transaction open is told the line that opened it."""
    project.write(
        "tests/test_it.py",
        """
        from sqlalchemy import text
        from shop.main import new_session

        kept = []

        async def begin():
            session = new_session()
            kept.append(session)
            await session.execute(text("SELECT 1"))  # line 9

        def test_it(run):
            run(begin())
    """,
    )
    result = project.pytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*The test left a transaction open*",
            "  opened at tests/test_it.py:9: await session.execute*, for *, during tests/test_it.py::test_it",
        ]
    )


def test_application_started_again(project: Project) -> None:
    """A failed test is told that the application was started again before it, and which test has caused that; the next is not."""
    project.write(
        "shop/keeping.py",
        """
        import os
        from contextlib import asynccontextmanager

        import psycopg
        from fastapi import FastAPI

        seen = []

        @asynccontextmanager
        async def lifespan(app):
            seen.clear()
            url = os.environ["DATABASE_URL"].replace("+asyncpg", "")
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as app.state.kept:
                yield

        app = FastAPI(lifespan=lifespan)

        @app.get("/seen")
        async def get_seen() -> int:
            seen.append(1)
            return len(seen)
        """,
    )
    project.replace("pyproject.toml", "shop.main:app", "shop.keeping:app")
    project.write(
        "tests/test_it.py",
        """
        from sqlalchemy import text

        def test_changes(client, session):
            assert client.get("/seen").json() == 1
            session.execute(text("CREATE TABLE more (id int)"))
            session.commit()

        def test_remembers(client):
            assert client.get("/seen").json() == 2

        def test_fails_for_another_reason(client):
            assert client.get("/seen").json() == 9
    """,
    )
    result = project.pytest("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*- greenroom: the application was started again -*",
            "Before this test, since tests/test_it.py::test_changes changed the schema*",
            "What it had in memory is gone.",
        ]
    )
    assert result.stdout.str().count("the application was started again") == 1


def test_session_class(project: Project) -> None:
    """A session of SQLAlchemy's own class that lacks what the project's own has is explained, with the setting that helps."""
    project.write(
        "shop/own.py",
        """
        from sqlalchemy.ext.asyncio import AsyncSession

        class Session(AsyncSession):
            async def names(self): return []
    """,
    )
    project.write(
        "tests/test_it.py",
        """
        import shop.own

        def test_it(run, async_session):
            run(async_session.names())

        def test_typo(run, async_session):
            run(async_session.nmaes())
    """,
    )
    result = project.pytest("-p", "no:randomly")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*- greenroom: why this failed -*",
            "tests/test_it.py:4: AttributeError: AsyncSession is SQLAlchemy's own class here, which has no names()",
            '*session_factory = "package.module:new_session"',
        ]
    )
    assert result.stdout.str().count("greenroom: why this failed") == 1


LOG = """\
Traceback (most recent call last):
  File "/srv/app/names.py", line 4, in names
    return session.scalars(query).all()
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
AttributeError: 'coroutine' object has no attribute 'all'

Traceback (most recent call last):
  File "/srv/app/names.py", line 9, in more
    await session.execute(query)
  File "/venv/lib/python3.12/site-packages/sqlalchemy/orm/session.py", line 900, in _raise
    raise sa_exc.PendingRollbackError(
sqlalchemy.exc.PendingRollbackError: This Session's transaction has been rolled back due to a previous exception during flush.
"""


def test_one_cause_in_a_log(tmp_path: Path) -> None:
    """Of several errors in a log, one that follows from others, as a rule, is said to, and is not explained as a cause."""
    done = greenroom(stdin=LOG, cwd=tmp_path)
    first, _, second = done.stdout.partition("error 2 of 2")
    assert "fix 1: " in first
    assert second.split("\n\n")[1].startswith("/srv/app/names.py:9: PendingRollbackError: ")
    assert "It may follow from error 1: mend that one first." in second
    assert "fix" not in second.replace("first", "")
    alone = greenroom(stdin=LOG.partition("\n\n")[2], cwd=tmp_path)
    assert "fix 1: " in alone.stdout


def test_rows_that_were_rewound(project: Project) -> None:
    """A test that refers to a row which an earlier test has written is told what has become of it; the first test is not."""
    project.write(
        "tests/test_it.py",
        """
        import functools
        import pytest
        from shop.models import Customer, Order

        @pytest.fixture(scope="module")
        def make(engine):
            from sqlalchemy.orm import Session

            @functools.cache
            def customer():
                with Session(engine) as session:
                    found = Customer(name="Ada")
                    session.add(found)
                    session.commit()
                    return found.id
            return customer

        def order(session, customer):
            session.add(Order(customer_id=customer))
            session.commit()

        def test_wrong_from_the_start(session):
            order(session, 99)

        def test_writes(session, make):
            order(session, make())

        def test_remembers(session, make):
            order(session, make())
        """,
    )
    result = project.pytest("-p", "no:randomly", "tests/test_it.py")
    result.assert_outcomes(failed=2, passed=1)
    output = result.stdout.str()
    first, _, second = output.partition("_ test_remembers _")
    assert "rows that were rewound" not in first
    assert (
        "There is no row in `customers` for customer_id = 1. If an earlier test has written one, it was rewound"
        in second
    )
