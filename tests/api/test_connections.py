"""An authorised connection: POST /providers/{id}/refresh, /sync and /disconnect."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.models import Connection, Token
from tests.api.helpers import assert_problem, authorise, ok
from tests.fixtures import Configure, OutsideProvider


def connection_of(user: TestClient, provider: str) -> dict[str, Any]:
    """The connection of a provider, as it is now."""
    connection: dict[str, Any] = ok(user.get(provider))["connection"]
    return connection


# -- What the three have in common --


def test_provider_that_was_never_authorised(user: TestClient, provider: str) -> None:
    """Without tokens there is nothing to refresh, to synchronise with, or to disconnect."""
    for action in ("refresh", "sync", "disconnect"):
        document = assert_problem(user.post(f"{provider}/{action}"), 409, "not-connected")
        assert document["detail"] == "'Everyday' is not connected: authorise it first."

    assert connection_of(user, provider)["status"] == "pending"


def test_connection_that_another_request_works_on(user: TestClient, session: Session, connected: str) -> None:
    """A request does not wait for a locked connection; it is told so at once, and nothing changes."""
    before = ok(user.get(connected))
    session.execute(text("SELECT FROM connections FOR UPDATE"))

    for action in ("refresh", "sync", "disconnect"):
        assert_problem(user.post(f"{connected}/{action}"), 409, "busy")

    assert ok(user.get(connected)) == before
    session.rollback()
    for action in ("refresh", "sync", "disconnect"):
        ok(user.post(f"{connected}/{action}"))


def test_provider_that_fails(user: TestClient, schwab: OutsideProvider, connected_schwab: str) -> None:
    """A provider that does not answer sensibly puts the connection in error; the tokens stay."""
    failures = 0
    for answer, reason in [((500, "<html>Oops</html>"), "HTTP 500"), ((200, "<html/>"), "malformed answer")]:
        schwab.answers["/token"] = schwab.answers["/accounts"] = answer
        for action in ("refresh", "sync"):
            document = assert_problem(user.post(f"{connected_schwab}/{action}"), 502, "provider-failed")

            failures += 1
            assert reason in document["detail"]
            connection = connection_of(user, connected_schwab)
            assert (connection["status"], connection["last_error"]) == ("error", reason)
            assert connection["error_count"] == failures
            assert connection["token"]["version"] == 1


def test_provider_that_is_down(user: TestClient, schwab: OutsideProvider, connected_schwab: str) -> None:
    """A provider that cannot be reached is a failure like another."""
    schwab.stop()

    for action in ("refresh", "sync"):
        assert_problem(user.post(f"{connected_schwab}/{action}"), 502, "provider-failed")
        assert connection_of(user, connected_schwab)["last_error"] == "ConnectError"


def test_provider_that_is_slow(
    user: TestClient, schwab: OutsideProvider, connected_schwab: str, reconfigure: Configure
) -> None:
    """The service waits for a provider for OAUTH_TIMEOUT, and no longer."""
    reconfigure(OAUTH_TIMEOUT="0.05")
    schwab.hold()

    for action in ("refresh", "sync"):
        assert_problem(user.post(f"{connected_schwab}/{action}"), 502, "provider-failed")
        assert connection_of(user, connected_schwab)["last_error"] == "timeout"


@pytest.mark.parametrize("action", ["refresh", "sync"])
def test_provider_that_works_again(
    user: TestClient, schwab: OutsideProvider, connected_schwab: str, action: str
) -> None:
    """The first success after failures makes the connection active again."""
    good = dict(schwab.answers)
    schwab.answers["/token"] = schwab.answers["/accounts"] = 503, {}
    assert_problem(user.post(f"{connected_schwab}/{action}"), 502, "provider-failed")
    schwab.answers |= good

    ok(user.post(f"{connected_schwab}/{action}"))

    connection = connection_of(user, connected_schwab)
    assert (connection["status"], connection["error_count"]) == ("active", 0)
    assert connection["last_error"] is None


def test_grant_that_was_revoked_at_the_provider(
    user: TestClient, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """When the provider does not accept the tokens, the connection has expired, until authorised again."""
    good = dict(schwab.answers)
    for action in ("refresh", "sync"):
        schwab.answers |= {"/token": (400, {"error": "invalid_grant"}), "/accounts": (401, {})}

        document = assert_problem(user.post(f"{connected_schwab}/{action}"), 409, "authorisation-lapsed")

        assert document["detail"] == "Charles Schwab no longer accepts the tokens: authorise again."
        connection = connection_of(user, connected_schwab)
        assert (connection["status"], connection["error_count"]) == ("expired", 1)
        schwab.answers |= good
        assert authorise(user, connected_schwab)["connection"]["status"] == "active"


def test_provider_without_client_credentials(
    user: TestClient, connected_schwab: str, reconfigure: Configure
) -> None:
    """When the service has no credentials any more, that is no failure of the provider's."""
    reconfigure(OAUTH_CLIENTS=None)

    for action in ("refresh", "sync"):
        assert_problem(user.post(f"{connected_schwab}/{action}"), 503, "not-configured")

    assert connection_of(user, connected_schwab)["error_count"] == 0


# -- POST /providers/{id}/refresh --


def test_refresh(user: TestClient, session: Session, connected: str) -> None:
    """A refresh stores two new tokens as the next version."""
    before = session.scalars(select(Token)).one()
    tokens = before.access_token, before.refresh_token
    session.rollback()

    provider = ok(user.post(f"{connected}/refresh"))

    assert provider["connection"]["token"]["version"] == 2
    after = session.scalars(select(Token)).one()
    assert {after.access_token, after.refresh_token}.isdisjoint(tokens)
    ok(user.post(f"{connected}/sync"))


def test_refresh_of_the_version_that_is_there(user: TestClient, connected: str) -> None:
    """Without an expected version, or with the one that is there, the tokens are refreshed."""
    bodies: list[dict[str, int | None] | None] = [
        None,
        {},
        {"expected_version": None},
        {"expected_version": 4},
    ]
    for version, body in enumerate(bodies, start=1):
        provider = ok(user.post(f"{connected}/refresh", json=body))

        assert provider["connection"]["token"]["version"] == version + 1


def test_refresh_of_another_version(user: TestClient, connected: str) -> None:
    """Who knows an old version is told the one that is there."""
    ok(user.post(f"{connected}/refresh"))

    document = assert_problem(
        user.post(f"{connected}/refresh", json={"expected_version": 1}), 409, "stale-version"
    )

    assert document["version"] == 2
    assert document["detail"] == "The tokens are at version 2, no longer at 1."


def test_refresh_invalid_body(user: TestClient, connected: str) -> None:
    """A version is a positive number."""
    bodies: list[Any] = [{"expected_version": 0}, {"expected_version": "x"}, {"version": 1}, []]
    for body in bodies:
        assert_problem(user.post(f"{connected}/refresh", json=body), 422, "invalid-request")


def test_refresh_at_a_provider_that_does_not_rotate(
    user: TestClient, session: Session, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """Without a new refresh token in the answer, the previous one stays good."""
    schwab.issue("access-2", None)

    ok(user.post(f"{connected_schwab}/refresh"))

    token = session.scalars(select(Token)).one()
    assert (token.access_token, token.refresh_token) == ("access-2", "refresh-1")


def test_refresh_without_a_refresh_token(
    user: TestClient, session: Session, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """Where the provider gave no refresh token, only a new authorisation helps."""
    session.scalars(select(Token)).one().refresh_token = None
    session.commit()
    asked = len(schwab.received)

    document = assert_problem(user.post(f"{connected_schwab}/refresh"), 409, "no-refresh-token")

    assert "authorise again" in document["detail"]
    assert len(schwab.received) == asked


# -- POST /providers/{id}/sync --


def test_sync(user: TestClient, connected: str) -> None:
    """A synchronisation returns the accounts, with exact amounts, and is noted."""
    document = ok(user.post(f"{connected}/sync"))

    assert document["accounts"] == [
        {"id": "sandbox-checking", "name": "Checking", "currency": "USD", "balance": "1250.00"},
        {"id": "sandbox-savings", "name": "Savings", "currency": "USD", "balance": "8000.50"},
    ]
    connection = document["provider"]["connection"]
    assert connection["sync_count"] == 1
    age = datetime.now(UTC) - datetime.fromisoformat(connection["last_sync_at"])
    assert abs(age.total_seconds()) < 60
    assert connection_of(user, connected) == connection


def test_syncs_are_counted(user: TestClient, connected: str) -> None:
    """Each synchronisation counts, and has its own time."""
    first, second = (ok(user.post(f"{connected}/sync"))["provider"]["connection"] for _ in range(2))

    assert (first["sync_count"], second["sync_count"]) == (1, 2)
    assert second["last_sync_at"] != first["last_sync_at"]


def test_sync_sends_the_access_token(
    user: TestClient, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """The provider gets the user's access token, and nothing of the service's."""
    ok(user.post(f"{connected_schwab}/sync"))

    assert (schwab.received[-1].path, schwab.received[-1].authorisation) == ("/accounts", "Bearer access-1")


def test_sync_with_an_expired_token(
    user: TestClient, session: Session, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """With a token that is known to have expired the provider is not asked; after a refresh it is."""
    session.scalars(select(Token)).one().expires_at = datetime.now(UTC) - timedelta(seconds=1)
    session.commit()
    asked = len(schwab.received)

    assert_problem(user.post(f"{connected_schwab}/sync"), 409, "token-expired")

    assert len(schwab.received) == asked
    connection = connection_of(user, connected_schwab)
    assert (connection["status"], connection["error_count"]) == ("expired", 0)
    ok(user.post(f"{connected_schwab}/refresh"))
    assert ok(user.post(f"{connected_schwab}/sync"))["provider"]["connection"]["status"] == "active"


# -- POST /providers/{id}/disconnect --


def test_disconnect(user: TestClient, session: Session, connected: str) -> None:
    """The tokens are gone, and the provider stays, to be authorised again."""
    provider = ok(user.post(f"{connected}/disconnect"))

    assert (provider["connection"]["status"], provider["connection"]["token"]) == ("revoked", None)
    assert session.scalar(select(func.count()).select_from(Token)) == 0
    assert_problem(user.post(f"{connected}/disconnect"), 409, "not-connected")
    assert authorise(user, connected)["connection"]["token"]["version"] == 1


def test_disconnect_ends_an_authorisation_under_way(
    user: TestClient, session: Session, connected: str
) -> None:
    """What was begun before the disconnection cannot be finished after it."""
    ok(user.post(f"{connected}/authorise"))

    ok(user.post(f"{connected}/disconnect"))

    assert session.scalars(select(Connection.authorisation)).one() is None


@pytest.mark.parametrize(("refresh_token", "sent"), [("refresh-1", "refresh-1"), (None, "access-1")])
def test_disconnect_revokes_at_the_provider(
    user: TestClient,
    session: Session,
    schwab: OutsideProvider,
    connected_schwab: str,
    refresh_token: str | None,
    sent: str,
) -> None:
    """The provider is told to forget the refresh token, or the access token where there is no other."""
    session.scalars(select(Token)).one().refresh_token = refresh_token
    session.commit()

    ok(user.post(f"{connected_schwab}/disconnect"))

    assert (schwab.received[-1].path, schwab.received[-1].form["token"]) == ("/revoke", sent)


@pytest.mark.parametrize("failure", ["down", "refusing", "not configured"])
def test_disconnect_although_the_provider_fails(
    user: TestClient,
    schwab: OutsideProvider,
    connected_schwab: str,
    reconfigure: Configure,
    caplog: pytest.LogCaptureFixture,
    failure: str,
) -> None:
    """The user's wish counts, whether or not the provider can be told; that it could not is logged."""
    match failure:
        case "down":
            schwab.stop()
        case "refusing":
            schwab.answers["/revoke"] = 500, "<html>Oops</html>"
        case _:
            reconfigure(OAUTH_CLIENTS=None)

    provider = ok(user.post(f"{connected_schwab}/disconnect"))

    assert provider["connection"]["status"] == "revoked"
    (record,) = [record for record in caplog.records if record.name == "app.services.connections"]
    assert "could not be told to revoke" in record.getMessage()
