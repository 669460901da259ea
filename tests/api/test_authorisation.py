"""The OAuth2 round trip: POST /providers/{id}/authorise, and GET /oauth/callback."""

from collections.abc import Callable

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.models import AuditEntry, Connection, ConnectionStatus, Token
from app.security import Purpose, Security, fingerprint
from tests.api.helpers import (
    add_provider,
    approve,
    assert_problem,
    authorise,
    ok,
    query_of,
    start,
)
from tests.fixtures import Configure, OutsideProvider

CALLBACK = "/api/v1/oauth/callback"
COOKIE = "authorising_browser"


# -- POST /providers/{id}/authorise --


def test_start(user: TestClient, provider: str) -> None:
    """The answer tells where to send the browser and for how long, and must not be cached."""
    response = user.post(f"{provider}/authorise")

    document = ok(response)
    assert document["expires_in"] == 600
    assert response.headers["Cache-Control"] == "no-store"
    url = document["authorisation_url"]
    assert url.startswith("http://testserver/sandbox/authorize?")
    query = query_of(url)
    assert query["redirect_uri"] == f"http://testserver{CALLBACK}"
    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert query["scope"] == "accounts"


def test_start_at_an_outside_provider(user: TestClient, schwab: OutsideProvider) -> None:
    """The browser goes to the provider's own endpoint, with the service's client id and never its secret."""
    url = start(user, add_provider(user, key="schwab"))

    assert url.startswith(f"{schwab.endpoints['authorize_url']}?")
    assert query_of(url)["client_id"] == schwab.client_id
    assert schwab.client_secret not in url
    assert schwab.received == []


def test_start_marks_the_browser(
    make_client: Callable[..., TestClient], user: TestClient, provider: str
) -> None:
    """A cookie, out of reach of scripts and of other sites' requests, recognises the browser on its way back."""
    for scheme in ("http", "https"):
        browser = make_client(base_url=f"{scheme}://testserver", headers=user.headers)

        cookie = browser.post(f"{provider}/authorise").headers["Set-Cookie"]

        assert cookie.startswith(f"{COOKIE}=")
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert ("Secure" in cookie) is (scheme == "https")


def test_start_keeps_the_browsers_mark(user: TestClient, provider: str) -> None:
    """Two authorisations of one browser do not disturb each other."""
    other = add_provider(user, alias="Holidays")
    one, two = approve(user, start(user, provider)), approve(user, start(user, other))

    assert ok(user.get(one))["alias"] == "Everyday"
    assert ok(user.get(two))["alias"] == "Holidays"


def test_start_behind_a_public_url(user: TestClient, reconfigure: Configure) -> None:
    """PUBLIC_URL says where the browser comes back to, whatever host the request named."""
    reconfigure(PUBLIC_URL="https://app.example/")

    response = user.post(f"{add_provider(user)}/authorise")

    url = ok(response)["authorisation_url"]
    assert url.startswith("https://app.example/sandbox/authorize?")
    assert query_of(url)["redirect_uri"] == f"https://app.example{CALLBACK}"
    assert "Secure" in response.headers["Set-Cookie"]


def test_start_without_client_credentials(user: TestClient) -> None:
    """A provider that the service has no credentials for cannot be authorised."""
    provider = add_provider(user, key="schwab")

    document = assert_problem(user.post(f"{provider}/authorise"), 503, "not-configured")

    assert document["detail"] == "Charles Schwab is not set up here: no client credentials for schwab."
    assert ok(user.get(provider))["connection"]["status"] == "pending"


def test_start_keeps_its_secret_out_of_the_database(
    user: TestClient, session: Session, provider: str
) -> None:
    """Of the authorisation under way a fingerprint is stored, and the audit does not have even that."""
    start(user, provider)

    connection = session.scalars(select(Connection)).one()
    assert connection.authorisation is not None
    assert len(connection.authorisation) == len(fingerprint(""))
    (detail,) = session.scalars(select(AuditEntry.detail).where(AuditEntry.action == "connection.updated"))
    assert detail["authorisation"] == "(hidden)"


# -- GET /oauth/callback --


def test_callback(user: TestClient, provider: str) -> None:
    """Back with a code, the provider is connected."""
    path = approve(user, start(user, provider))

    after = ok(user.get(path))

    assert provider.endswith(after["id"])
    assert after["connection"]["status"] == "active"
    assert after["connection"]["token"]["version"] == 1
    assert after["connection"]["token"]["scopes"] == ["accounts"]


def test_callback_needs_no_access_token(user: TestClient, provider: str) -> None:
    """The browser comes back from the provider without an Authorization header: the state says who it is."""
    path = approve(user, start(user, provider))
    del user.headers["Authorization"]

    assert ok(user.get(path))["connection"]["status"] == "active"


def test_callback_sends_the_code_to_the_provider(user: TestClient, schwab: OutsideProvider) -> None:
    """The code is traded with the callback that the authorisation named, and the tokens are stored."""
    schwab.issue("access-1", "refresh-1", scope="readonly trading")

    provider = authorise(user, add_provider(user, key="schwab"))

    (request,) = schwab.received
    assert (request.path, request.form["code"]) == ("/token", "the-code")
    assert request.form["redirect_uri"] == f"http://testserver{CALLBACK}"
    assert provider["connection"]["token"]["scopes"] == ["readonly", "trading"]


def test_callback_once_more(user: TestClient, connected: str) -> None:
    """A provider that is connected may be authorised again, for new tokens."""
    assert authorise(user, connected)["connection"]["token"]["version"] == 2


def test_callback_once_more_without_a_refresh_token(
    user: TestClient, session: Session, schwab: OutsideProvider, connected_schwab: str
) -> None:
    """A provider that gives its refresh token at the first authorisation alone does not lose it at the second."""
    schwab.issue("access-2", None)

    authorise(user, connected_schwab)

    token = session.scalars(select(Token).execution_options(populate_existing=True)).one()
    assert (token.access_token, token.refresh_token) == ("access-2", "refresh-1")


def test_callback_after_errors(user: TestClient, session: Session, connected: str) -> None:
    """A new authorisation makes good what had gone wrong."""
    connection = session.scalars(select(Connection)).one()
    connection.status = ConnectionStatus.EXPIRED
    connection.error_count, connection.last_error = 3, "invalid_grant"
    session.commit()

    after = authorise(user, connected)["connection"]

    assert (after["status"], after["error_count"], after["last_error"]) == ("active", 0, None)


def test_callback_is_good_for_one_use(user: TestClient, provider: str) -> None:
    """The same way back a second time is refused, and changes nothing."""
    path = approve(user, start(user, provider))
    before = ok(user.get(path))

    assert_problem(user.get(path), 400, "invalid-state")

    assert ok(user.get(provider)) == before


def test_callback_of_an_earlier_authorisation(user: TestClient, provider: str) -> None:
    """A later start makes the state of an earlier one void."""
    earlier = approve(user, start(user, provider))
    later = approve(user, start(user, provider))

    assert_problem(user.get(earlier), 400, "invalid-state")
    assert ok(user.get(later))["connection"]["status"] == "active"


def test_callback_in_another_browser(
    user: TestClient, other_user: TestClient, client: TestClient, provider: str
) -> None:
    """Nobody can be made to finish an authorisation that was begun in another browser, logged in or not."""
    start(other_user, add_provider(other_user))  # has a browser's mark, but its own
    path = approve(user, start(user, provider))

    for browser in (client, other_user):
        assert_problem(browser.get(path), 400, "invalid-state")

    assert ok(user.get(provider))["connection"]["status"] == "pending"
    assert ok(user.get(path))["connection"]["status"] == "active"


@pytest.mark.parametrize("state", ["", "made-up", "a.b.c", "%00"])
def test_callback_with_a_state_of_somebody_else(client: TestClient, state: str) -> None:
    """A state that the service did not sign is refused."""
    assert_problem(client.get(f"{CALLBACK}?code=x&state={state}"), 400, "invalid-state")


def test_callback_with_an_access_token_as_state(user: TestClient) -> None:
    """A token that the service signed for something else is no state."""
    _, _, token = user.headers["Authorization"].partition(" ")

    assert_problem(user.get(f"{CALLBACK}?code=x&state={token}"), 400, "invalid-state")


def test_callback_that_comes_too_late(
    user: TestClient, session: Session, security: Security, provider: str
) -> None:
    """A state that has expired is refused; everything else about it is right here."""
    start(user, provider)
    connection = session.scalars(select(Connection)).one()
    connection.authorisation = fingerprint("the nonce")
    session.commit()
    claims = {
        "sub": "1",
        "provider": provider.rpartition("/")[2],
        "nonce": "the nonce",
        "browser": fingerprint(user.cookies[COOKIE]),
        "callback": f"http://testserver{CALLBACK}",
    }
    expired, fresh = (security.sign(Purpose.AUTHORISATION, lifetime, **claims) for lifetime in (-1, 60))

    assert_problem(user.get(CALLBACK, params={"code": "x", "state": expired}), 400, "invalid-state")
    # The same state in time gets further: to the code, which is made up.
    response = user.get(CALLBACK, params={"code": "x", "state": fresh})
    assert_problem(response, 400, "authorisation-refused")


@pytest.mark.parametrize(("query", "reason"), [("&error=access_denied", "access_denied"), ("", "no code")])
def test_callback_of_a_refusal(user: TestClient, provider: str, query: str, reason: str) -> None:
    """When the user declines, the connection stays as it was, and the state is used up."""
    url = start(user, provider)
    path = f"{CALLBACK}?state={query_of(url)['state']}{query}"

    document = assert_problem(user.get(path), 400, "authorisation-refused")

    assert document["detail"] == f"Sandbox did not authorise the connection ({reason})."
    assert ok(user.get(provider))["connection"]["status"] == "pending"
    assert_problem(user.get(path), 400, "invalid-state")


def test_denial_at_the_sandbox(user: TestClient, connected: str) -> None:
    """Who declines a second authorisation keeps the first one."""
    back = user.get(f"{start(user, connected)}&decision=deny", follow_redirects=False).headers["Location"]

    assert_problem(user.get(back), 400, "authorisation-refused")

    assert ok(user.post(f"{connected}/sync"))["provider"]["connection"]["status"] == "active"


def test_callback_with_a_wrong_code(user: TestClient, provider: str) -> None:
    """A code that the provider does not accept is counted, and the connection stays pending."""
    url = start(user, provider)

    response = user.get(CALLBACK, params={"state": query_of(url)["state"], "code": "made-up"})

    document = assert_problem(response, 400, "authorisation-refused")
    assert document["detail"] == "Sandbox did not accept the code."
    connection = ok(user.get(provider))["connection"]
    assert (connection["status"], connection["error_count"]) == ("pending", 1)
    assert (connection["last_error"], connection["token"]) == ("invalid_grant", None)


def test_callback_while_the_provider_fails(user: TestClient, schwab: OutsideProvider) -> None:
    """When the provider does not answer sensibly, the connection is in error, and a new start is needed."""
    provider = add_provider(user, key="schwab")
    for answer, reason in [
        ((500, "<html>Oops</html>"), "HTTP 500"),
        ((200, "<html>Welcome</html>"), "malformed answer"),
        ((401, {"error": "invalid_client"}), "invalid_client"),
    ]:
        schwab.answers["/token"] = answer
        path = approve(user, start(user, provider))

        document = assert_problem(user.get(path), 502, "provider-failed")

        assert reason in document["detail"]
        connection = ok(user.get(provider))["connection"]
        assert (connection["status"], connection["last_error"]) == ("error", reason)
        assert_problem(user.get(path), 400, "invalid-state")


def test_callback_after_the_credentials_are_gone(
    user: TestClient, schwab: OutsideProvider, reconfigure: Configure
) -> None:
    """When the service has no credentials any more, the provider is not asked, and the state stays good."""
    path = approve(user, start(user, add_provider(user, key="schwab")))
    reconfigure(OAUTH_CLIENTS=None)

    assert_problem(user.get(path), 503, "not-configured")

    assert schwab.received == []


def test_callback_after_the_provider_was_removed(user: TestClient, provider: str) -> None:
    """Whoever removed the provider meanwhile does not find it connected."""
    path = approve(user, start(user, provider))
    user.delete(provider)

    assert_problem(user.get(path), 404, "no-such-provider")


def test_callback_while_another_request_is_at_work(user: TestClient, session: Session, provider: str) -> None:
    """While the connection is locked, the code is not traded; afterwards it can be."""
    path = approve(user, start(user, provider))
    session.execute(text("SELECT FROM connections FOR UPDATE"))

    assert_problem(user.get(path), 409, "busy")

    session.rollback()
    assert ok(user.get(path))["connection"]["status"] == "active"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (f"code={'x' * 4097}", "code"),
        ("error=Access%20denied", "error"),
        ("error=%0d%0ax", "error"),
    ],
)
def test_callback_invalid_query(user: TestClient, provider: str, query: str, field: str) -> None:
    """Parameters that are too long or of another form are an invalid request."""
    state = query_of(start(user, provider))["state"]

    response = user.get(f"{CALLBACK}?{query}&state={state}")

    (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
    assert (fault["in"], fault["field"]) == ("query", field)


@pytest.mark.parametrize("query", ["code=x", f"code=x&state={'x' * 2049}"], ids=["none", "too long"])
def test_callback_invalid_state(client: TestClient, query: str) -> None:
    """A state that is missing or too long is an invalid request."""
    (fault,) = assert_problem(client.get(f"{CALLBACK}?{query}"), 422, "invalid-request")["errors"]

    assert (fault["in"], fault["field"]) == ("query", "state")


def test_callback_with_a_cookie_that_is_none_of_ours(client: TestClient) -> None:
    """An oversized cookie is an invalid request."""
    response = client.get(f"{CALLBACK}?code=x&state=x", headers={"Cookie": f"{COOKIE}={'x' * 129}"})

    (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
    assert (fault["in"], fault["field"]) == ("cookie", COOKIE)


def test_tokens_are_encrypted_at_rest(user: TestClient, session: Session, schwab: OutsideProvider) -> None:
    """What the provider issued is stored as it is in the model, and unreadable in the table."""
    schwab.issue("the-access-token", "the-refresh-token")
    authorise(user, add_provider(user, key="schwab"))

    token = session.scalars(select(Token)).one()
    columns = session.execute(text("SELECT access_token, refresh_token FROM tokens")).one()

    assert (token.access_token, token.refresh_token) == ("the-access-token", "the-refresh-token")
    for column in columns:
        assert "the-" not in column
