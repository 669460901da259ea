"""Each test begins with the database as the migrations left it, in whichever order the tests run.

The tests come in pairs that would fail if one saw what the other had committed.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.models import AuditEntry, CatalogueEntry, Provider, User
from app.services import accounts
from greenroom.typing import Run
from tests.factories import connect, make_provider, make_user

PASSWORD = "correct horse battery staple"
twice = pytest.mark.parametrize("time", ["first", "second"])


@twice
def test_rows_of_the_test(session: Session, time: str) -> None:
    """What a test commits is gone after it, and numbers start again: the same user has the same id."""
    assert session.scalar(select(func.count()).select_from(User)) == 0

    user = make_user(session)
    connect(session, make_provider(session, user))

    assert user.id == 1


@twice
def test_rows_of_a_service(run: Run, async_session: AsyncSession, session: Session, time: str) -> None:
    """What a service commits is gone after the test, with the audit entries that it wrote."""
    user = run(accounts.register(async_session, "ada@example.org", PASSWORD, "Ada"))

    assert user.id == 1
    assert [entry.id for entry in session.scalars(select(AuditEntry))] == [1]


@twice
def test_rows_of_a_request(client: TestClient, session: Session, time: str) -> None:
    """What a request commits is gone after the test."""
    body = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}

    assert client.post("/api/v1/auth/register", json=body).json()["id"] == 1
    assert session.scalar(select(func.count()).select_from(User)) == 1


@twice
def test_seeds_that_were_changed(session: Session, time: str) -> None:
    """Rows that the migrations put in come back, whether a test changed, removed or added some."""
    names = select(CatalogueEntry.name).order_by(CatalogueEntry.name)
    assert session.scalars(names).all() == ["Charles Schwab", "Chase", "Fidelity", "Plaid", "Sandbox"]

    session.execute(text("DELETE FROM catalogue_entries WHERE key = 'plaid'"))
    session.execute(text("UPDATE catalogue_entries SET name = upper(name)"))
    session.add(CatalogueEntry(key="x", name="X", description="", kind="sandbox"))
    session.commit()


@twice
def test_schema_that_was_changed(engine: Engine, time: str) -> None:
    """A test that changes the schema gets, or leaves, a whole one as well."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE leftover (x int)"))
        connection.execute(text("ALTER TABLE users ADD COLUMN leftover int"))


@twice
def test_transaction_that_is_left_open(session: Session, time: str) -> None:
    """What a test does not commit is rolled back, and keeps no other test waiting."""
    assert session.scalar(select(func.count()).select_from(User)) == 0

    session.add(User(email="ada@example.org", name="Ada", password_hash="x"))
    session.flush()


@pytest.fixture
def provider_of_a_fixture(session: Session) -> Iterator[Provider]:
    """A row that a fixture commits, and one that it commits at its end."""
    provider = make_provider(session, make_user(session))
    yield provider
    make_user(session, "grace@example.org")


@twice
def test_rows_of_a_fixture(session: Session, provider_of_a_fixture: Provider, time: str) -> None:
    """What fixtures commit, before and after the test, is gone, too."""
    assert provider_of_a_fixture.user_id == 1
    assert session.scalar(select(func.count()).select_from(User)) == 1


def test_commits_are_seen_by_both_sides(run: Run, async_session: AsyncSession, session: Session) -> None:
    """The test and the service are two connections to one database: each sees what the other committed."""
    make_user(session)
    grace = run(accounts.register(async_session, "grace@example.org", PASSWORD, "Grace"))

    assert session.get_one(User, grace.id).email == "grace@example.org"
    assert run(accounts.get_user(async_session, 1)).email == "ada@example.org"


def test_what_is_not_committed_is_not_seen(run: Run, async_session: AsyncSession, session: Session) -> None:
    """Neither side sees what the other has not committed."""

    async def flush_one() -> None:
        async_session.add(User(email="grace@example.org", name="Grace", password_hash="x"))
        await async_session.flush()

    session.add(User(email="ada@example.org", name="Ada", password_hash="x"))
    session.flush()
    run(flush_one())

    assert session.scalars(select(User.email)).all() == ["ada@example.org"]
    assert run(async_session.scalars(select(User.email))).all() == ["grace@example.org"]
    run(async_session.rollback())


def test_both_are_the_same_database(
    run: Run, async_session: AsyncSession, session: Session, engine: Engine
) -> None:
    """The service's driver is asyncpg, the test's psycopg; database and role are the same, and unprivileged."""
    who = text(
        "SELECT current_database(), current_user, (SELECT usesuper FROM pg_user WHERE usename = current_user)"
    )

    assert tuple(run(async_session.execute(who)).one()) == tuple(session.execute(who).one())
    assert session.execute(who).one()[2] is False
    assert async_session.get_bind().dialect.driver == "asyncpg"
    assert engine.dialect.driver == "psycopg"
