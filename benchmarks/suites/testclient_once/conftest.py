"""One `TestClient`, entered once for all tests, so that there is one loop, and the pool stays. Commits are real."""

import database
import pytest
import service
from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def tables():
    with database.created() as engine:
        yield engine


@pytest.fixture(scope="session")
def entered():
    with TestClient(service.app) as client:
        yield client
        client.portal.call(service.engine.dispose)


@pytest.fixture
def client(entered, tables):
    yield entered
    database.empty(tables)
