"""HTTP as such: methods and paths that there are not."""

import pytest
from starlette.testclient import TestClient

from app.settings import get_settings
from tests.api.helpers import assert_problem


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1", "/api/v1/nothing", "/api/v2/providers"])
def test_path_that_is_not_there(client: TestClient, path: str) -> None:
    """An unknown path is a problem document like every other error."""
    assert assert_problem(client.get(path), 404, None)["title"] == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/health/live", {"GET"}),
        ("GET", "/api/v1/auth/login", {"POST"}),
        ("PUT", "/api/v1/me", {"GET"}),
        ("DELETE", "/api/v1/providers", {"GET", "POST"}),
        ("POST", "/api/v1/providers/00000000-0000-0000-0000-000000000000", {"GET", "PATCH", "DELETE"}),
    ],
)
def test_method_that_is_not_allowed(client: TestClient, method: str, path: str, allowed: set[str]) -> None:
    """Another method is a 405 that names those which are allowed, all of them."""
    response = client.request(method, path)

    assert_problem(response, 405, None)
    assert set(response.headers["Allow"].split(", ")) == allowed


def test_head(client: TestClient) -> None:
    """HEAD is answered without a body, also where it is not allowed."""
    response = client.head("/health/live")

    assert (response.status_code, response.content) == (405, b"")
    assert response.headers["Content-Type"] == "application/problem+json"


def test_nobody_is_sent_to_the_host_that_a_request_names(client: TestClient) -> None:
    """A path with a slash too many is not there: to redirect, the service would have to believe the Host header."""
    for path in ("/health/live/", "/api/v1/providers/", "/sandbox/accounts/"):
        response = client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)

        assert (response.status_code, response.headers.get("Location")) == (404, None), path


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/providers"])
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_body_that_is_too_large(client: TestClient, path: str, chunked: bool) -> None:
    """A body beyond the limit is refused, whether its length is announced or not."""
    size = get_settings().max_body_size + 1
    body = (b"x" * 1024 for _ in range(size // 1024 + 1)) if chunked else b"x" * size

    response = client.post(path, content=body, headers={"Content-Type": "application/json"})

    document = assert_problem(response, 413, None)
    assert document["detail"] == f"The body is larger than {size - 1} bytes."


def test_body_as_large_as_can_be(client: TestClient) -> None:
    """A body at the limit is read, and refused for what is in it."""
    body = b" " * get_settings().max_body_size

    response = client.post("/api/v1/auth/login", content=body, headers={"Content-Type": "application/json"})

    assert_problem(response, 422, "invalid-request")


def test_schema(client: TestClient) -> None:
    """The OpenAPI schema is served."""
    assert client.get("/openapi.json").json()["info"]["title"] == "Financial data providers"
