"""FastAPI's documentation: `with TestClient(app)` for each test. Each has a loop of its own, so: NullPool."""

import database
import pytest
import service
from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def tables():
    with database.created() as engine:
        yield engine


@pytest.fixture
def client(tables):
    with TestClient(service.app) as client:
        yield client
    database.empty(tables)
