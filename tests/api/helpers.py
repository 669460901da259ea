"""What the API tests do and check again and again."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from httpx2 import Response
from starlette.testclient import TestClient

PASSWORD = "correct horse battery staple"

SignUp = Callable[[str], TestClient]


def register(client: TestClient, email: str, **changes: str) -> dict[str, Any]:
    """Register a user."""
    body = {"email": email, "password": PASSWORD, "name": "Ada"} | changes
    user: dict[str, Any] = ok(client.post("/api/v1/auth/register", json=body), 201)
    return user


def log_in(client: TestClient, email: str, password: str = PASSWORD) -> str:
    """Log in. Returns the access token."""
    token: str = ok(client.post("/api/v1/auth/login", json={"email": email, "password": password}))[
        "access_token"
    ]
    return token


def add_provider(client: TestClient, *, key: str = "sandbox", alias: str = "Everyday") -> str:
    """Add a provider. Returns its path."""
    response = client.post("/api/v1/providers", json={"key": key, "alias": alias})
    return f"/api/v1/providers/{ok(response, 201)['id']}"


def start(client: TestClient, provider: str) -> str:
    """Begin an authorisation. Returns the URL at the provider."""
    url: str = ok(client.post(f"{provider}/authorise"))["authorisation_url"]
    return url


def approve(client: TestClient, url: str) -> str:
    """Approve an authorisation at the provider, as the user's browser does. Returns the path to go back to."""
    query = query_of(url)
    if urlsplit(url).path == "/sandbox/authorize":
        back = urlsplit(client.get(url, follow_redirects=False).headers["Location"])
        return f"{back.path}?{back.query}"
    return f"{urlsplit(query['redirect_uri']).path}?state={query['state']}&code=the-code"


def authorise(client: TestClient, provider: str) -> dict[str, Any]:
    """The whole round trip of an authorisation. Returns the provider as it is then."""
    authorised: dict[str, Any] = ok(client.get(approve(client, start(client, provider))))
    return authorised


def query_of(url: str) -> dict[str, str]:
    """The query of a URL whose names come once each."""
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query, strict_parsing=True).items()}


def ok(response: Response, status: int = 200) -> Any:
    """Check that a request succeeded. Returns what came back."""
    assert response.status_code == status, response.text
    return response.json()


def by_status(responses: list[Response]) -> list[int]:
    """The status codes, in order of their number."""
    return sorted(response.status_code for response in responses)


def assert_problem(response: Response, status: int, code: str | None) -> dict[str, Any]:
    """Check that a response is a problem document of this kind (RFC 9457). Returns the document."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == (f"urn:problem:{code}" if code else "about:blank")
    assert document["status"] == status
    assert document["instance"] == response.request.url.path
    assert document["title"]
    assert document["detail"]
    return document
