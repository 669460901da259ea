"""GET /catalogue."""

from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.models import CatalogueEntry
from tests.api.helpers import assert_problem, log_in, ok
from tests.fixtures import Configure


def test_catalogue(user: TestClient) -> None:
    """What can be connected to is listed by name, without the endpoints."""
    assert ok(user.get("/api/v1/catalogue")) == [
        {
            "key": "schwab",
            "name": "Charles Schwab",
            "description": "Brokerage accounts and positions.",
            "kind": "oauth2",
            "scopes": ["readonly"],
            "available": True,
        },
        {
            "key": "sandbox",
            "name": "Sandbox",
            "description": "A pretend bank with two accounts, for trying things out.",
            "kind": "sandbox",
            "scopes": ["accounts"],
            "available": True,
        },
    ]


def test_catalogue_with_what_is_not_available(user: TestClient) -> None:
    """On request the list has what is to come, too."""
    entries = ok(user.get("/api/v1/catalogue?include_unavailable=true"))

    assert [(entry["key"], entry["available"]) for entry in entries] == [
        ("schwab", True),
        ("chase", False),
        ("fidelity", False),
        ("plaid", False),
        ("sandbox", True),
    ]


def test_catalogue_is_read_from_the_database(user: TestClient, session: Session) -> None:
    """An entry that becomes available is on offer from the next request on."""
    session.add(
        CatalogueEntry(key="piggy", name="A piggy bank", description="", kind="sandbox", available=True)
    )
    session.commit()

    assert [entry["key"] for entry in ok(user.get("/api/v1/catalogue"))] == ["piggy", "schwab", "sandbox"]


def test_catalogue_in_production(user: TestClient, reconfigure: Configure) -> None:
    """In production the sandbox is not on offer, and cannot be added."""
    reconfigure(
        ENVIRONMENT="production",
        JWT_KEY="k" * 32,
        ENCRYPTION_KEY="k" * 43 + "=",
        PUBLIC_URL="https://app.example",
    )
    user.headers["Authorization"] = f"Bearer {log_in(user, 'ada@example.org')}"  # under the new key

    assert [entry["key"] for entry in ok(user.get("/api/v1/catalogue"))] == ["schwab"]
    response = user.post("/api/v1/providers", json={"key": "sandbox", "alias": "x"})
    assert_problem(response, 409, "not-available")


def test_catalogue_invalid_query(user: TestClient) -> None:
    """A parameter that is no truth value is an invalid request."""
    response = user.get("/api/v1/catalogue?include_unavailable=perhaps")

    (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
    assert (fault["in"], fault["field"]) == ("query", "include_unavailable")
