"""Synchronous tests, `with TestClient(app)` for each

cause: Each TestClient has a loop of its own, and the application's pool keeps a connection of the first one's.
"""

import pytest
import service
from fastapi.testclient import TestClient


@pytest.fixture
def client():
    with TestClient(service.app) as client:
        yield client


def test_one(client):
    assert client.post("/providers/one").status_code == 200


def test_two(client):
    assert client.post("/providers/two").status_code == 200


def test_three(client):
    assert client.post("/providers/three").status_code == 200
