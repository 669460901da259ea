"""A synchronous session behind `async def` methods in place of the application's: asyncpg does not run at all."""

import database
import pytest
import service
from sqlalchemy.orm import Session
from starlette.testclient import TestClient


class AsyncToSync:
    """What the application takes for its AsyncSession."""

    def __init__(self, session):
        self._session = session

    def add(self, instance):
        self._session.add(instance)

    async def commit(self):
        self._session.commit()

    async def scalar(self, statement):
        return self._session.scalar(statement)


@pytest.fixture(scope="session")
def tables():
    with database.created() as engine:
        yield engine


@pytest.fixture(scope="session")
def entered():
    with TestClient(service.app) as client:
        yield client


@pytest.fixture
def client(entered, tables):
    with tables.connect() as connection, connection.begin() as transaction:
        session = Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint")

        async def get_session():
            yield AsyncToSync(session)

        service.app.dependency_overrides[service.get_session] = get_session
        yield entered
        session.close()
        transaction.rollback()
