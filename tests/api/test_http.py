"""HTTP as such: methods and paths that there are not."""

import pytest
from starlette.testclient import TestClient

from tests.api.helpers import assert_problem


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1", "/api/v1/nothing", "/api/v2/providers"])
def test_path_that_is_not_there(client: TestClient, path: str) -> None:
    """An unknown path is a problem document like every other error."""
    assert assert_problem(client.get(path), 404, None)["title"] == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health", {"GET"}),
        ("GET", "/api/v1/auth/login", {"POST"}),
        ("PUT", "/api/v1/me", {"GET"}),
        ("DELETE", "/api/v1/providers", {"GET", "POST"}),
    ],
)
def test_method_that_is_not_allowed(client: TestClient, method: str, path: str, allowed: set[str]) -> None:
    """Another method is a 405 that names methods which are allowed."""
    response = client.request(method, path)

    assert_problem(response, 405, None)
    assert set(response.headers["Allow"].split(", ")) <= allowed


def test_head(client: TestClient) -> None:
    """HEAD is answered without a body, also where it is not allowed."""
    response = client.head("/health")

    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["Content-Type"] == "application/problem+json"


def test_schema(client: TestClient) -> None:
    """The OpenAPI schema is served."""
    assert client.get("/openapi.json").json()["info"]["title"] == "Financial data providers"
