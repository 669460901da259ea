"""What tests of a service with a database need. The same for each approach, whose conftest gives `session` and `http`."""

import asyncio
import os
from typing import Annotated

import models
import psycopg
import pytest
import service
from fastapi import Depends
from fastapi.testclient import TestClient
from sqlalchemy import event, make_url, select
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncSession


@service.app.get("/providers/{provider_id}/connection")
async def get_connection(
    provider_id: int, session: Annotated[AsyncSession, Depends(service.get_session)]
) -> bool:
    """Reads a relationship that nothing in it has loaded."""
    provider = await session.get_one(models.Provider, provider_id)
    return provider.connection is not None


async def names(session):
    return set(await session.scalars(select(models.Provider.name)))


def names_for_another_connection():
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM provider")}


@pytest.mark.asyncio
async def test_commit(session):
    """A service commits, and the test reads an attribute after it"""
    assert (await models.create(session, "commit")).name == "commit"


@pytest.mark.asyncio
async def test_nothing_is_left_of_a_commit(session):
    """Nothing of it is left for the next test"""
    assert "commit" not in await names(session)


@pytest.mark.asyncio
async def test_commit_after_a_conflict(session):
    """A service expects a conflict, rolls back, and commits again"""
    assert await models.create_once(session, "conflict")
    assert not await models.create_once(session, "conflict")
    assert await models.create_once(session, "after")
    assert {"conflict", "after"} <= await names(session)


@pytest.mark.asyncio
async def test_nothing_is_left_after_a_conflict(session):
    """Nothing of this is left either"""
    assert not {"conflict", "after"} & await names(session)


@pytest.mark.asyncio
async def test_request(session, http):
    """A request sees what the test has committed, and the reverse"""
    await models.create(session, "by the test")
    assert (await http.post("/providers/by-a-request")).status_code == 200
    assert {"by the test", "by-a-request"} <= await names(session)


@pytest.mark.asyncio
async def test_nothing_is_left_of_a_request(session):
    """Nothing of test and request is left"""
    assert not {"by the test", "by-a-request"} & await names(session)


@pytest.mark.asyncio
async def test_lazy_load_in_the_application(http):
    """A lazy load in the application is refused, as in production"""
    provider = (await http.post("/providers/lazy")).json()
    with pytest.raises(MissingGreenlet):
        await http.post(f"/providers/{provider}/token")


@pytest.mark.asyncio
async def test_lazy_load_of_what_the_test_has_loaded(session, http):
    """The same where the test has loaded it, but not the application"""
    provider = models.Provider(name="loaded", connection=models.Connection())
    session.add(provider)
    await session.commit()
    with pytest.raises(MissingGreenlet):
        await http.get(f"/providers/{provider.id}/connection")


@pytest.mark.asyncio
async def test_two_requests_at_once(http):
    """Two requests at once, each with a connection"""
    both = await asyncio.gather(http.post("/providers/first"), http.post("/providers/second"))
    assert [response.status_code for response in both] == [200, 200]


@pytest.mark.asyncio
async def test_commit_is_seen_by_another_connection(session):
    """What the test has committed is seen by another connection, such as a worker's"""
    await models.create(session, "for a worker")
    assert "for a worker" in names_for_another_connection()


@pytest.mark.asyncio
async def test_request_is_seen_by_another_connection(http):
    """What a request has committed is seen by another connection"""
    await http.post("/providers/by-the-application")
    assert "by-the-application" in names_for_another_connection()


@pytest.mark.asyncio
async def test_session_of_the_applications_own():
    """Code of the application opens a session itself, as a job does"""
    async with service.new_session() as session:
        assert (await models.create(session, "by a job")).name == "by a job"


@pytest.mark.asyncio
async def test_nothing_is_left_of_a_session_of_the_applications_own():
    """Nothing of the job is left"""
    assert "by a job" not in names_for_another_connection()


@pytest.mark.asyncio
async def test_engine_of_the_application(http):
    """A request is answered through the application's own engine and pool"""
    statements = []
    event.listen(service.engine.sync_engine, "before_cursor_execute", lambda *sent: statements.append(sent))
    await http.post("/providers/through-the-pool")
    assert statements


def test_synchronous_client():
    """A synchronous test with `TestClient(app)` beside the others"""
    with TestClient(service.app) as client:
        assert client.post("/providers/synchronous").status_code == 200
