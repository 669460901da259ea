"""Where the story ended: a synchronous session behind `async def` methods, in place of the application's

cause: It passes, since a lazy load works in a synchronous session. The application does not have that session: see the next program.
"""

import inspect
import os

import pytest
import service
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session


class AsyncToSync:
    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        attribute = getattr(self._session, name)
        if not inspect.iscoroutinefunction(getattr(AsyncSession, name, None)):
            return attribute

        async def awaited(*arguments, **options):
            return attribute(*arguments, **options)

        return awaited


@pytest.fixture
def client():
    engine = create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    with Session(engine, expire_on_commit=False) as session:
        service.app.dependency_overrides[service.get_session] = lambda: AsyncToSync(session)
        with TestClient(service.app) as client:
            yield client
    engine.dispose()


def test_token(client):
    provider = client.post("/providers/one").json()
    assert client.post(f"/providers/{provider}/token").json() == "stored"
