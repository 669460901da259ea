"""Mended: the application's pool is disposed on the loop of each client

cause: Nothing of one loop is left in the pool for the next. An application that disposes its engine in its lifespan does the same; so does NullPool.
"""

import pytest
import service
from fastapi.testclient import TestClient


@pytest.fixture
def client():
    with TestClient(service.app) as client:
        yield client
        client.portal.call(service.engine.dispose)


def test_one(client):
    assert client.post("/providers/one").status_code == 200


def test_two(client):
    assert client.post("/providers/two").status_code == 200


def test_three(client):
    assert client.post("/providers/three").status_code == 200
