from __future__ import annotations

import os

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from vault import service
from vault.main import engine
from vault.models import Provider


def test_lazy_relationship(run, async_session, provider):
    run(service.has_connection(async_session, "a"))


def test_lazy_relationship_in_a_request(client, provider):
    client.get("/providers/a/connected")


def test_lazy_relationship_got(run, async_session, provider):
    run(service.has_connection_got(async_session, provider))


def test_lazy_relationships_in_a_loop(run, async_session, provider):
    run(service.token_count(async_session))


def test_lazy_relationship_of_a_new_object(run, async_session, provider):
    run(service.connect(async_session, provider))


def test_lazy_relationship_in_a_property(run, async_session, provider):
    run(service.is_connected(async_session, "a"))


def test_lazy_relationship_in_the_test(run, async_session, provider):
    found = run(async_session.get(Provider, provider))
    assert found.connection is not None  # here: lazy_relationship_in_the_test


@pytest.fixture
def connected(run, async_session, provider):
    found = run(async_session.scalars(select(Provider))).one()
    return found.connection  # here: lazy_relationship_in_a_fixture


def test_lazy_relationship_in_a_fixture(connected):
    pass


@pytest.fixture
def checked_afterwards(run, async_session, provider):
    found = run(async_session.scalars(select(Provider))).one()
    yield found
    assert found.connection is not None  # here: lazy_relationship_in_a_teardown


def test_lazy_relationship_in_a_teardown(checked_afterwards):
    pass


def test_expired_by_commit(run):
    async def create():
        async with AsyncSession(engine) as session:
            await service.create(session, "new")

    run(create())


def test_expired_by_rollback(run, async_session, provider):
    run(service.create_twice(async_session, "a"))


def test_expired_by_the_database(run, async_session, provider):
    run(service.rename(async_session, "a"))


def test_deferred_column(run, async_session, provider):
    run(service.notes(async_session, "a"))


def test_synchronous_call(run, async_session, provider):
    run(service.count_in_sync_code(async_session))


def test_create_engine_on_a_fixture(database_url):
    url_of_db = database_url.replace("+psycopg:", "+psycopg_async:")
    wrong = create_engine(url_of_db, echo=False)
    with wrong.connect() as connection:  # here: create_engine_on_a_fixture
        connection.execute(text("SELECT 1"))


def test_create_engine_on_an_asynchronous_url(database_url):
    url = os.environ["DATABASE_URL"].replace("+psycopg:", "+psycopg_async:")
    wrong = create_engine(url)
    with wrong.connect() as connection:  # here: create_engine_on_an_asynchronous_url
        connection.execute(text("SELECT 1"))
