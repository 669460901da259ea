"""Synchronous tests, `TestClient(app)` without `with`

cause: Without `with`, each request has a loop of its own: the second request of the first test fails already.
"""

import service
from fastapi.testclient import TestClient

client = TestClient(service.app)


def test_one():
    assert client.post("/providers/one").status_code == 200
    assert client.post("/providers/two").status_code == 200
