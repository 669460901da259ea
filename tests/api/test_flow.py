"""The whole way of a user through the service, and what of it must be seen nowhere."""

import logging
import re
import threading

import pytest
from fastapi import FastAPI
from httpx2 import Request, Response
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.models import AuditEntry, Connection, Provider, Token, User
from tests.api.helpers import PASSWORD, add_provider, approve, authorise, log_in, ok, register, start
from tests.fixtures import OutsideProvider


def test_from_registration_to_removal(client: TestClient, session: Session) -> None:
    """Register, log in, choose, connect, synchronise, refresh, disconnect, look back, and leave."""
    api = "/api/v1"
    credentials = {"email": "ada@example.org", "password": PASSWORD}
    ok(client.post(f"{api}/auth/register", json=credentials | {"name": "Ada"}), 201)
    login = ok(client.post(f"{api}/auth/login", json=credentials))
    client.headers["Authorization"] = f"{login['token_type']} {login['access_token']}"

    assert "sandbox" in [entry["key"] for entry in ok(client.get(f"{api}/catalogue"))]
    body = {"key": "sandbox", "alias": "Everyday"}
    provider = client.post(f"{api}/providers", json=body).headers["Location"]
    assert ok(client.get(provider))["connection"]["status"] == "pending"

    url = ok(client.post(f"{provider}/authorise"))["authorisation_url"]
    # The browser follows: to the sandbox, which approves and sends it back to the service.
    assert ok(client.get(url))["connection"]["status"] == "active"
    assert len(ok(client.post(f"{provider}/sync"))["accounts"]) == 2
    refreshed = ok(client.post(f"{provider}/refresh", json={"expected_version": 1}))
    assert refreshed["connection"]["token"]["version"] == 2
    assert len(ok(client.post(f"{provider}/sync"))["accounts"]) == 2
    assert ok(client.post(f"{provider}/disconnect"))["connection"]["status"] == "revoked"

    actions = [entry["action"] for entry in ok(client.get(f"{api}/audit?limit=100"))["items"]]
    assert {"user.created", "provider.created", "token.created", "token.updated", "token.deleted"} <= set(
        actions
    )
    assert client.delete(provider).status_code == 204
    assert ok(client.get(f"{api}/providers"))["total"] == 0
    counts = [
        session.scalar(select(func.count()).select_from(table)) for table in (Provider, Connection, Token)
    ]
    assert counts == [0, 0, 0]
    assert session.scalar(select(func.count()).select_from(AuditEntry)) == len(actions) + 2


def test_secrets_are_seen_nowhere(
    client: TestClient, session: Session, schwab: OutsideProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """No password, hash, provider's token, code or client secret is in a response, a log line or the audit.

    Every step goes well once and wrong at least once, and SQL statements are logged, too.
    """
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, "sqlalchemy")
    seen: list[str] = []

    def remember(response: Response) -> None:
        seen.append(f"{response.headers} {response.read().decode()}")

    client.event_hooks = {"response": [remember]}
    credentials = {"email": "ada@example.org", "password": PASSWORD}
    for body in (credentials, credentials | {"name": "Ada"}, credentials | {"name": "Ada"}):
        client.post("/api/v1/auth/register", json=body)
    client.post("/api/v1/auth/login", json=credentials | {"password": [PASSWORD]})
    client.post("/api/v1/auth/login", json=credentials | {"email": "nobody@example.org"})
    access_token = log_in(client, "ada@example.org")
    client.headers["Authorization"] = f"Bearer {access_token}"
    schwab.issue("the-access-token", "the-refresh-token")
    provider = add_provider(client, key="schwab")
    path = approve(client, start(client, provider))
    for _ in range(2):
        client.get(path)
    (stored,) = session.execute(text("SELECT access_token || ' ' || refresh_token FROM tokens")).scalars()
    password_hash = session.scalars(select(User.password_hash)).one()
    schwab.issue("the-next-access-token", "the-next-refresh-token")
    for action in ("sync", "refresh", "sync"):
        ok(client.post(f"{provider}/{action}"))
    schwab.answers |= {
        "/token": (500, "the-page"),
        "/accounts": (200, "the-page"),
        "/revoke": (500, "the-page"),
    }
    for action in ("sync", "refresh", "disconnect", "disconnect"):
        client.post(f"{provider}/{action}")
    ok(client.get("/api/v1/audit?limit=100"))

    # Of the log, what the application said; the client of the test, in the test's thread, logs URLs with codes.
    log = [record for record in caplog.records if record.thread != threading.get_ident()]
    assert {"app.services.upstream", "app.services.connections", "sqlalchemy.engine.Engine", "httpx2"} <= {
        record.name for record in log
    }
    audit = session.scalars(select(AuditEntry.detail)).all()
    text_seen = "\n".join([*seen, *(record.getMessage() for record in log), repr(audit)])
    assert text_seen.count(access_token) == 1  # in the answer to the login
    for secret in (
        PASSWORD,
        password_hash,
        "the-access-token",
        "the-refresh-token",
        "the-next-",
        "the-code",
        "the-page",
        schwab.client_secret,
        *stored.split(),
    ):
        assert secret not in text_seen


def test_every_endpoint_says_who_acts(app: FastAPI, client: TestClient, session: Session) -> None:
    """Whatever an endpoint changes has an actor. An endpoint that this test does not ask fails it as well."""
    asked = set()

    def note(request: Request) -> None:
        asked.add((request.method, re.sub(r"[0-9a-f-]{36}", "{provider_id}", request.url.path)))

    client.event_hooks = {"request": [note]}
    register(client, "ada@example.org")
    client.headers["Authorization"] = f"Bearer {log_in(client, 'ada@example.org')}"
    provider = add_provider(client)
    authorise(client, provider)
    for action in ("sync", "refresh", "disconnect"):
        ok(client.post(f"{provider}/{action}"))
    ok(client.patch(provider, json={"alias": "Renamed"}))
    ok(client.get(provider))
    assert client.delete(provider).status_code == 204
    for path in ("/api/v1/me", "/api/v1/catalogue", "/api/v1/providers", "/api/v1/audit"):
        ok(client.get(path))
    for path in ("/health/live", "/health/ready"):
        ok(client.get(path))

    endpoints = {
        (method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods
    }
    assert endpoints <= asked
    entries = session.execute(select(AuditEntry.action, AuditEntry.user_id)).all()
    assert {user_id for _, user_id in entries} == {1}, entries
    assert len(entries) > len(endpoints) - 6  # each that changes something, and one or two of them twice
