"""The same request, with the application's own session

cause: This is what the application does in production: the service reads a relationship that is not loaded, and the response has status 500. The wrapper's test passes.
"""

from contextlib import contextmanager

import service
from fastapi.testclient import TestClient


@contextmanager
def open_client(**options):
    with TestClient(service.app, **options) as client:
        try:
            yield client
        finally:
            client.portal.call(service.engine.dispose)


def test_token():
    with open_client() as client:
        provider = client.post("/providers/one").json()
        assert client.post(f"/providers/{provider}/token").json() == "stored"


def test_response():
    with open_client(raise_server_exceptions=False) as client:
        provider = client.post("/providers/two").json()
        assert client.post(f"/providers/{provider}/token").status_code == 200
