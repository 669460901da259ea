"""The OAuth2 client: the URLs that it builds, and what it makes of a provider's answers."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.models import CatalogueEntry
from app.models.catalogue import CatalogueKind
from app.oauth import (
    DEFAULT_TOKEN_LIFETIME,
    GrantRejected,
    NotSetUp,
    ProviderClient,
    ProviderError,
    ProviderUnavailable,
)
from app.sandbox import Sandbox
from app.settings import get_settings
from greenroom.typing import Run
from tests.fixtures import Configure, OutsideProvider

CALLBACK = "https://app.example/api/v1/oauth/callback"
VERIFIER = "v" * 43
HTML = "<html><body>Down for maintenance</body></html>"


def entry(**urls: str) -> CatalogueEntry:
    """An entry of the catalogue that is in no database."""
    scopes = ["read", "trade"]
    return CatalogueEntry(key="schwab", name="A bank", kind=CatalogueKind.OAUTH2, scopes=scopes, **urls)


def client_of(of: CatalogueEntry) -> ProviderClient:
    """A client of a provider, as the environment says."""
    return ProviderClient(of, get_settings(), Sandbox("sandbox", "the client's secret, of 32 bytes", 60))


@pytest.fixture
def provider(outside: OutsideProvider) -> ProviderClient:
    """A client of the outside provider."""
    return client_of(entry(**outside.endpoints))


def query_of(url: str) -> dict[str, str]:
    """The query of a URL whose names come once each."""
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query, strict_parsing=True).items()}


def test_authorisation_url(provider: ProviderClient, outside: OutsideProvider) -> None:
    """The URL asks the provider's endpoint for a code, with PKCE's challenge and never the verifier."""
    url = provider.authorisation_url(CALLBACK, "the state", VERIFIER)

    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    assert url.startswith(f"{outside.endpoints['authorize_url']}?")
    assert query_of(url) == {
        "response_type": "code",
        "client_id": outside.client_id,
        "redirect_uri": CALLBACK,
        "scope": "read trade",
        "state": "the state",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    assert VERIFIER not in url


def test_query_of_the_endpoint_is_kept(outside: OutsideProvider) -> None:
    """An authorisation endpoint that has a query keeps it."""
    provider = client_of(entry(authorize_url="https://bank.example/oauth?brand=x"))

    url = provider.authorisation_url(CALLBACK, "the state", VERIFIER)

    assert url.startswith("https://bank.example/oauth?")
    assert query_of(url)["brand"] == "x"


def test_sandbox_is_on_the_host_of_the_callback() -> None:
    """The browser finds the sandbox where it finds the service."""
    provider = client_of(CatalogueEntry(key="sandbox", kind=CatalogueKind.SANDBOX, scopes=["accounts"]))

    url = provider.authorisation_url(CALLBACK, "the state", VERIFIER)

    assert url.startswith("https://app.example/sandbox/authorize?")


def test_provider_needs_credentials(configure: Configure) -> None:
    """Without client credentials for the provider there is no client."""
    configure(OAUTH_CLIENTS='{"chase": {"client_id": "x", "client_secret": "y"}}')

    with pytest.raises(NotSetUp, match="no client credentials for schwab"):
        client_of(entry())


def test_provider_needs_endpoints(run: Run, outside: OutsideProvider) -> None:
    """What needs an endpoint that the catalogue does not name says so."""
    provider = client_of(entry())

    with pytest.raises(NotSetUp, match="schwab has no authorize endpoint"):
        provider.authorisation_url(CALLBACK, "the state", VERIFIER)
    with pytest.raises(NotSetUp, match="schwab has no token endpoint"):
        run(provider.exchange("code", CALLBACK, VERIFIER))
    with pytest.raises(NotSetUp, match="schwab has no token endpoint"):
        run(provider.refresh("token"))
    with pytest.raises(NotSetUp, match="schwab has no revoke endpoint"):
        run(provider.revoke("token"))
    with pytest.raises(NotSetUp, match="schwab has no accounts endpoint"):
        run(provider.accounts("token"))


def test_exchange(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """The code goes to the provider with PKCE's verifier and the client's credentials; tokens come back."""
    outside.issue("access", "refresh", expires_in=600, scope="read")

    grant = run(provider.exchange("the code", CALLBACK, VERIFIER))

    (request,) = outside.received
    assert request.path == "/token"
    assert request.form == {
        "grant_type": "authorization_code",
        "code": "the code",
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    assert request.authorisation == f"Basic {base64.b64encode(b'our-id:our-secret').decode()}"
    assert (grant.access_token, grant.refresh_token, grant.scopes) == ("access", "refresh", ["read"])
    assert abs(grant.expires_at - datetime.now(UTC) - timedelta(seconds=600)) < timedelta(seconds=10)


def test_answer_of_the_least_kind(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """Where the provider does not say, the lifetime is half an hour and the scopes are those asked for."""
    outside.issue("access", None)

    grant = run(provider.exchange("the code", CALLBACK, VERIFIER))

    assert grant.refresh_token is None
    assert grant.scopes == ["read", "trade"]
    left = (grant.expires_at - datetime.now(UTC)).total_seconds()
    assert DEFAULT_TOKEN_LIFETIME - 10 < left <= DEFAULT_TOKEN_LIFETIME


def test_grant_does_not_show_its_tokens(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """Printing a grant prints no token."""
    outside.issue("s3cr3t-access", "s3cr3t-refresh")

    assert "s3cr3t" not in repr(run(provider.exchange("the code", CALLBACK, VERIFIER)))


def test_refresh(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """The refresh token goes to the provider; a new pair comes back."""
    outside.issue("access-2", "refresh-2")

    grant = run(provider.refresh("refresh-1"))

    (request,) = outside.received
    assert request.form["grant_type"] == "refresh_token"
    assert request.form["refresh_token"] == "refresh-1"
    assert (grant.access_token, grant.refresh_token) == ("access-2", "refresh-2")


def test_revoke(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """The token goes to the provider's revocation endpoint."""
    run(provider.revoke("refresh-1"))

    (request,) = outside.received
    assert (request.path, request.form["token"]) == ("/revoke", "refresh-1")


def test_accounts(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """The access token goes as a bearer token; amounts come back as exact decimals."""
    (account,) = run(provider.accounts("access-1"))

    (request,) = outside.received
    assert request.authorisation == "Bearer access-1"
    assert account.balance == Decimal("12.50")


REJECTED, UNAVAILABLE = GrantRejected, ProviderUnavailable


@pytest.mark.parametrize(
    ("status", "answer", "kind", "message"),
    [
        (400, {"error": "invalid_grant"}, REJECTED, "invalid_grant"),
        (400, {"error": "access_denied"}, REJECTED, "access_denied"),
        (400, {"error": "invalid_client"}, UNAVAILABLE, "invalid_client"),
        (400, {"error": "x" * 1000}, UNAVAILABLE, "x" * 64),
        (500, HTML, UNAVAILABLE, "HTTP 500"),
        (200, HTML, UNAVAILABLE, "malformed answer"),
        (200, "", UNAVAILABLE, "malformed answer"),
        (200, [], UNAVAILABLE, "malformed answer"),
        (200, {}, UNAVAILABLE, "malformed answer"),
        (
            200,
            {"access_token": "x", "token_type": "Bearer", "expires_in": "soon"},
            UNAVAILABLE,
            "malformed answer",
        ),
        (
            200,
            {"access_token": "x", "token_type": "Bearer", "expires_in": 10**20},
            UNAVAILABLE,
            "malformed answer",
        ),
    ],
)
def test_answers_of_the_token_endpoint(
    run: Run,
    provider: ProviderClient,
    outside: OutsideProvider,
    status: int,
    answer: Any,
    kind: type[ProviderError],
    message: str,
) -> None:
    """A refused grant is told from a provider that cannot answer sensibly at the moment."""
    outside.answers["/token"] = status, answer

    with pytest.raises(ProviderError, match=f"^{message}$") as caught:
        run(provider.exchange("s3cr3t", CALLBACK, VERIFIER))

    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "answer", "kind", "message"),
    [
        (401, {}, REJECTED, "HTTP 401"),
        (403, {}, UNAVAILABLE, "HTTP 403"),
        (429, {}, UNAVAILABLE, "HTTP 429"),
        (503, HTML, UNAVAILABLE, "HTTP 503"),
        (302, "", UNAVAILABLE, "HTTP 302"),
        (200, HTML, UNAVAILABLE, "malformed answer"),
        (200, [], UNAVAILABLE, "malformed answer"),
        (200, {"accounts": None}, UNAVAILABLE, "malformed answer"),
        (200, {"accounts": [{"id": "1"}]}, UNAVAILABLE, "malformed answer"),
    ],
)
def test_answers_of_the_accounts_endpoint(
    run: Run,
    provider: ProviderClient,
    outside: OutsideProvider,
    status: int,
    answer: Any,
    kind: type[ProviderError],
    message: str,
) -> None:
    """A refused token is told from a provider that cannot answer sensibly at the moment."""
    outside.answers["/accounts"] = status, answer

    with pytest.raises(ProviderError, match=f"^{message}$") as caught:
        run(provider.accounts("s3cr3t"))

    assert type(caught.value) is kind


def test_refresh_that_is_refused(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """A refresh token that the provider does not accept is a refused grant, too."""
    outside.answers["/token"] = 400, {"error": "invalid_grant"}

    with pytest.raises(GrantRejected, match=r"^invalid_grant$"):
        run(provider.refresh("s3cr3t"))


def test_revocation_that_fails(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """A revocation that the provider does not confirm is an error."""
    outside.answers["/revoke"] = 503, HTML

    with pytest.raises(ProviderUnavailable, match=r"^HTTP 503$"):
        run(provider.revoke("token"))


def test_provider_that_is_down(run: Run, provider: ProviderClient, outside: OutsideProvider) -> None:
    """A provider that does not listen is unavailable, and the message names neither host nor token."""
    outside.stop()

    with pytest.raises(ProviderUnavailable, match=r"^ConnectError$"):
        run(provider.accounts("s3cr3t"))


def test_provider_that_is_slow(run: Run, outside: OutsideProvider, configure: Configure) -> None:
    """A provider that does not answer within OAUTH_TIMEOUT is unavailable."""
    configure(OAUTH_TIMEOUT="0.05")
    provider = client_of(entry(**outside.endpoints))
    outside.hold()

    with pytest.raises(ProviderUnavailable, match=r"^timeout$"):
        run(provider.accounts("s3cr3t"))


def test_errors_do_not_drag_secrets_along(
    run: Run, provider: ProviderClient, outside: OutsideProvider
) -> None:
    """A traceback of a provider's failure does not show the library's error, which quotes request and URL."""
    outside.answers["/token"] = 200, HTML

    with pytest.raises(ProviderUnavailable) as caught:
        run(provider.refresh("s3cr3t"))

    assert caught.value.__suppress_context__
