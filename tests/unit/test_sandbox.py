"""The pretend provider: a strict OAuth2 authorisation server, spoken to over HTTP like any other."""

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from app import sandbox
from app.sandbox import Sandbox

CLIENT_ID, CLIENT_SECRET = "the-client", "the client's secret, of 32 bytes"
CALLBACK = "http://testserver/back"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Bank:
    """A client of a new sandbox, with credentials and a callback of its own."""

    def __init__(self, token_lifetime: int = 60, public_url: str | None = None) -> None:
        sandbox = Sandbox(CLIENT_ID, CLIENT_SECRET, token_lifetime, public_url)
        self.http = TestClient(sandbox.app, follow_redirects=False)

    def authorize(self, *, host: str = "testserver", **changes: str) -> Response:
        """Ask for a code, as a browser does."""
        query = {
            "client_id": CLIENT_ID,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "code_challenge_method": "S256",
            "code_challenge": CHALLENGE,
            "scope": "accounts",
            "state": "the state",
        }
        return self.http.get("/authorize", params=query | changes, headers={"Host": host})

    def code(self) -> str:
        """A code that was not used yet."""
        return answer(self.authorize())["code"]

    def token(self, **form: str) -> Response:
        """Ask for tokens, with the client's credentials."""
        return self.http.post("/token", data=form, auth=(CLIENT_ID, CLIENT_SECRET))

    def exchange(self, code: str, **changes: str) -> Response:
        """Trade a code for tokens."""
        form = {"code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        return self.token(**{"grant_type": "authorization_code"} | form | changes)

    def refresh(self, refresh_token: str) -> Response:
        """Trade a refresh token for tokens."""
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)

    def revoke(self, token: str) -> Response:
        """Have a token forgotten."""
        return self.http.post("/revoke", data={"token": token}, auth=(CLIENT_ID, CLIENT_SECRET))

    def accounts(self, access_token: str) -> Response:
        """Ask for the accounts."""
        return self.http.get("/accounts", headers={"Authorization": f"Bearer {access_token}"})

    def tokens(self) -> dict[str, Any]:
        """Tokens of a new grant."""
        tokens: dict[str, Any] = self.exchange(self.code()).json()
        return tokens


def answer(response: Response) -> dict[str, str]:
    """What the sandbox sent the browser back with."""
    assert response.status_code == 302
    location = urlsplit(response.headers["Location"])
    assert location._replace(query="").geturl() == CALLBACK
    return {name: value for name, (value,) in parse_qs(location.query).items()}


@pytest.fixture
def bank() -> Bank:
    """A new sandbox, with a client of it."""
    return Bank()


def test_approval_sends_back_with_a_code_and_the_state(bank: Bank) -> None:
    """The browser comes back with a code, and the state as it was sent."""
    back = answer(bank.authorize())

    assert back["state"] == "the state"
    assert back["code"]


def test_denial_sends_back_with_an_error(bank: Bank) -> None:
    """Asked to, the sandbox plays the user who declines."""
    assert answer(bank.authorize(decision="deny")) == {"error": "access_denied", "state": "the state"}


@pytest.mark.parametrize(
    "changes", [{"response_type": "token"}, {"code_challenge_method": "plain"}, {"code_challenge_method": ""}]
)
def test_authorisation_needs_a_code_flow_with_pkce(bank: Bank, changes: dict[str, str]) -> None:
    """Only the code flow with a S256 challenge is offered; the browser comes back with an error else."""
    assert answer(bank.authorize(**changes))["error"] == "invalid_request"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "somebody"},
        {"redirect_uri": "http://evil.example/back"},
        {"redirect_uri": "//evil.example"},
        {"redirect_uri": "//testserver/back"},
        {"redirect_uri": "javascript://testserver/%0aalert(1)"},
        {"redirect_uri": "data://testserver/,x"},
        {"redirect_uri": ""},
        {"redirect_uri": "http://["},
        {"redirect_uri": "http://ﬀ／evil.example/"},
    ],
)
def test_browser_is_sent_nowhere_else(bank: Bank, changes: dict[str, str]) -> None:
    """For an unknown client, and a callback on another host or of another scheme than HTTP, there is no redirect at all."""
    response = bank.authorize(**changes)

    assert response.status_code == 400
    assert "Location" not in response.headers


@pytest.mark.parametrize(
    ("callback", "host", "trusted"),
    [
        ("https://app.example/back", "app.example", True),
        ("https://app.example/back", "10.0.0.1:8000", True),  # what a proxy in front calls it
        ("http://app.example/back", "app.example", False),
        ("https://evil.example/back", "evil.example", False),
        ("https://app.example:444/back", "app.example:444", False),
        ("https://app.example@evil.example/back", "app.example", False),
        ("ftp://app.example/back", "app.example", False),
    ],
)
def test_browser_is_sent_to_the_public_url(callback: str, host: str, trusted: bool) -> None:
    """Where it is known how browsers reach the process they are sent there and nowhere else, whatever host they name."""
    response = Bank(public_url="https://app.example/").authorize(host=host, redirect_uri=callback)

    assert response.status_code == (302 if trusted else 400)
    assert response.headers.get("Location", "").startswith(f"{callback}?") is trusted


def test_code_is_traded_for_tokens(bank: Bank) -> None:
    """An exchange gives an access token, a refresh token, their lifetime and scope, and must not be cached."""
    response = bank.exchange(bank.code())

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    tokens = response.json()
    assert tokens.keys() == {"access_token", "refresh_token", "token_type", "expires_in", "scope"}
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 60, "accounts")


@pytest.mark.parametrize(
    "changes", [{"code": "made up"}, {"redirect_uri": f"{CALLBACK}2"}, {"code_verifier": "w" * 43}]
)
def test_exchange_must_match_its_authorisation(bank: Bank, changes: dict[str, str]) -> None:
    """Another code, callback or verifier than the authorisation's is not accepted."""
    response = bank.exchange(**{"code": bank.code()} | changes)

    assert (response.status_code, response.json()) == (400, {"error": "invalid_grant"})


def test_code_is_good_for_one_use(bank: Bank) -> None:
    """When a code comes twice, it is refused, and the tokens that it gave are void."""
    code = bank.code()
    tokens = bank.exchange(code).json()
    assert bank.accounts(tokens["access_token"]).status_code == 200

    assert bank.exchange(code).json() == {"error": "invalid_grant"}

    assert bank.accounts(tokens["access_token"]).status_code == 401
    assert bank.refresh(tokens["refresh_token"]).json() == {"error": "invalid_grant"}


def test_code_expires(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that is too old is not accepted."""
    monkeypatch.setattr(sandbox, "CODE_LIFETIME", -1)

    assert bank.exchange(bank.code()).json() == {"error": "invalid_grant"}


def test_refresh_rotates_both_tokens(bank: Bank) -> None:
    """A refresh gives two new tokens of the same scope."""
    first = bank.tokens()
    second = bank.refresh(first["refresh_token"]).json()

    assert second["scope"] == first["scope"]
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    assert bank.accounts(second["access_token"]).status_code == 200


def test_refresh_token_is_good_for_one_use(bank: Bank) -> None:
    """When a refresh token comes twice, the whole grant ends: its successor is void, too."""
    first = bank.tokens()
    second = bank.refresh(first["refresh_token"]).json()

    assert bank.refresh(first["refresh_token"]).json() == {"error": "invalid_grant"}

    assert bank.refresh(second["refresh_token"]).json() == {"error": "invalid_grant"}
    assert bank.accounts(second["access_token"]).status_code == 401


def test_grants_are_independent(bank: Bank) -> None:
    """The end of one grant leaves another one as it is."""
    one, other = bank.tokens(), bank.tokens()

    bank.revoke(one["refresh_token"])

    assert bank.accounts(one["access_token"]).status_code == 401
    assert bank.accounts(other["access_token"]).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revocation_ends_the_grant(bank: Bank, kind: str) -> None:
    """Either token revokes both."""
    tokens = bank.tokens()

    assert bank.revoke(tokens[kind]).status_code == 200

    assert bank.accounts(tokens["access_token"]).status_code == 401
    assert bank.refresh(tokens["refresh_token"]).status_code == 400


def test_revocation_of_an_unknown_token_is_fine(bank: Bank) -> None:
    """What is revoked already, or never was, is not an error (RFC 7009 §2.2)."""
    assert bank.revoke("made up").status_code == 200


def test_tokens_expire() -> None:
    """An access token that is too old is refused; its refresh token still works."""
    bank = Bank(token_lifetime=-1)
    tokens = bank.tokens()

    response = bank.accounts(tokens["access_token"])

    assert (response.status_code, response.json()) == (401, {"error": "invalid_token"})
    assert bank.refresh(tokens["refresh_token"]).status_code == 200


def test_tokens_are_not_interchangeable(bank: Bank) -> None:
    """A token of one kind is not accepted where another is wanted."""
    tokens, code = bank.tokens(), bank.code()

    assert bank.accounts(tokens["refresh_token"]).status_code == 401
    assert bank.accounts(code).status_code == 401
    assert bank.refresh(tokens["access_token"]).status_code == 400
    assert bank.exchange(tokens["refresh_token"]).status_code == 400


def test_tokens_of_another_sandbox_are_refused(bank: Bank) -> None:
    """A token that was signed with another client's secret is not accepted."""
    foreign = TestClient(Sandbox(CLIENT_ID, CLIENT_SECRET[::-1], 60).app)

    response = foreign.get("/accounts", headers={"Authorization": f"Bearer {bank.tokens()['access_token']}"})

    assert response.status_code == 401


@pytest.mark.parametrize("authorisation", ["", "Bearer", "Basic abc", "Bearer made up"])
def test_accounts_are_for_bearers(bank: Bank, authorisation: str) -> None:
    """Without an access token in a Bearer header there are no accounts."""
    assert bank.http.get("/accounts", headers={"Authorization": authorisation}).status_code == 401


@pytest.mark.parametrize("path", ["/token", "/revoke"])
@pytest.mark.parametrize("credentials", [("", ""), (CLIENT_ID, "wrong"), ("wrong", CLIENT_SECRET)])
def test_client_must_authenticate(bank: Bank, path: str, credentials: tuple[str, str]) -> None:
    """Tokens and revocations are for the client with its secret."""
    response = bank.http.post(path, data={"grant_type": "refresh_token"}, auth=credentials)

    assert (response.status_code, response.json()) == (401, {"error": "invalid_client"})


@pytest.mark.parametrize("grant_type", ["", "password", "client_credentials"])
def test_other_grant_types_are_not_supported(bank: Bank, grant_type: str) -> None:
    """There are codes and refresh tokens, and nothing else."""
    assert bank.token(grant_type=grant_type).json() == {"error": "unsupported_grant_type"}


def test_accounts_of_the_sandbox(bank: Bank) -> None:
    """The bank has two accounts, with amounts as text: a float would lose cents."""
    accounts = bank.accounts(bank.tokens()["access_token"]).json()["accounts"]

    assert [account["id"] for account in accounts] == ["sandbox-checking", "sandbox-savings"]
    assert all(isinstance(account["balance"], str) for account in accounts)
