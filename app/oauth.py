"""The OAuth2 client side: authorisation URLs, code exchange, refresh, revocation and the first API call."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import urljoin

import httpx2
from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]
from pydantic import BaseModel

from app.models.catalogue import CatalogueEntry, CatalogueKind
from app.sandbox import Sandbox
from app.settings import OAuthClient, Settings

SANDBOX_PATH = "/sandbox"
SANDBOX_ORIGIN = "http://sandbox.invalid"  # reached inside the process: nobody looks this name up
DEFAULT_TOKEN_LIFETIME = 30 * 60  # seconds, for a provider that does not say


class ProviderError(Exception):
    """The provider did not do what was asked. The message is the OAuth2 error code or the kind of failure."""


class GrantRejected(ProviderError):
    """The provider does not accept the code or token: asking again will not help."""


class ProviderUnavailable(ProviderError):
    """The provider could not be reached, timed out or answered nonsense: asking again later may help."""


class NotSetUp(ProviderError):
    """The service has no client credentials or no endpoint for this provider."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens as the provider issued them. Without a refresh token the previous one stays good."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime
    scopes: list[str]


class Account(BaseModel):
    """One of a user's accounts, in the form that every provider is brought to."""

    id: str
    name: str
    currency: str
    balance: Decimal


class ProviderClient:
    """Speaks to one provider of the catalogue for this service.

    The coroutines raise GrantRejected and ProviderUnavailable, and each exchange is bounded by the setting
    OAUTH_TIMEOUT. Whatever needs an endpoint or credentials that are not there raises NotSetUp.
    """

    def __init__(self, entry: CatalogueEntry, settings: Settings, sandbox: Sandbox) -> None:
        self._entry = entry
        self._timeout = settings.oauth_timeout
        self._sandbox = sandbox
        self._in_process = entry.kind is CatalogueKind.SANDBOX
        if self._in_process:
            self._credentials = OAuthClient(client_id=sandbox.client_id, client_secret=sandbox.client_secret)
        elif entry.key in settings.oauth_clients:
            self._credentials = settings.oauth_clients[entry.key]
        else:
            raise NotSetUp(f"no client credentials for {entry.key}")

    def authorisation_url(self, callback_url: str, state: str, code_verifier: str) -> str:
        """Where the user's browser goes to approve; the provider then sends it to `callback_url`."""
        # The browser is outside of the process: to it the sandbox is on the same host as the callback.
        endpoint = urljoin(callback_url, self._endpoint("authorize"))
        url, _ = self._http(redirect_uri=callback_url).create_authorization_url(
            endpoint, state=state, code_verifier=code_verifier
        )
        return str(url)

    async def exchange(self, code: str, callback_url: str, code_verifier: str) -> Grant:
        """Trade the code of an approved authorisation for tokens."""
        endpoint = self._endpoint("token")
        with _translated_errors():
            async with self._http(redirect_uri=callback_url) as http:
                return self._grant(await http.fetch_token(endpoint, code=code, code_verifier=code_verifier))

    async def refresh(self, refresh_token: str) -> Grant:
        """Trade a refresh token for a new access token and, where the provider rotates, its successor."""
        endpoint = self._endpoint("token")
        with _translated_errors():
            async with self._http(token={"refresh_token": refresh_token}) as http:
                return self._grant(await http.refresh_token(endpoint, refresh_token=refresh_token))

    async def revoke(self, token: str) -> None:
        """Tell the provider to forget a token and what was derived from it (RFC 7009)."""
        endpoint = self._endpoint("revoke")
        with _translated_errors():
            async with self._http() as http:
                (await http.revoke_token(endpoint, token=token)).raise_for_status()

    async def accounts(self, access_token: str) -> list[Account]:
        """The user's accounts at the provider."""
        endpoint = self._endpoint("accounts")
        with _translated_errors():
            async with self._http(token={"access_token": access_token, "token_type": "Bearer"}) as http:
                response = await http.get(endpoint)
                response.raise_for_status()
                return [Account.model_validate(account) for account in response.json()["accounts"]]

    def _endpoint(self, name: str) -> str:
        if self._in_process:
            return f"{SANDBOX_PATH}/{name}"
        url: str | None = getattr(self._entry, f"{name}_url")
        if url is None:
            raise NotSetUp(f"{self._entry.key} has no {name} endpoint")
        return url

    def _http(self, **options: Any) -> Any:
        if self._in_process:
            transport = httpx2.ASGITransport(self._sandbox.app, root_path=SANDBOX_PATH)
            options |= {"transport": transport, "base_url": SANDBOX_ORIGIN}
        return AsyncOAuth2Client(
            self._credentials.client_id,
            self._credentials.client_secret.get_secret_value(),
            scope=" ".join(self._entry.scopes),
            code_challenge_method="S256",
            timeout=self._timeout,
            verify=_tls(),
            **options,
        )

    def _grant(self, token: dict[str, Any]) -> Grant:
        lifetime = timedelta(seconds=int(token.get("expires_in") or DEFAULT_TOKEN_LIFETIME))
        return Grant(
            access_token=token["access_token"],
            refresh_token=token.get("refresh_token"),
            expires_at=datetime.now(UTC) + lifetime,
            scopes=token["scope"].split() if token.get("scope") else list(self._entry.scopes),
        )


@cache
def _tls() -> ssl.SSLContext:
    # Loading the certificate authorities takes milliseconds: once, not for every client.
    return httpx2.create_ssl_context()


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turn what the HTTP and OAuth2 libraries raise into ProviderErrors that quote no URL and no token."""
    try:
        yield
    except AuthlibBaseError as error:
        kind = GrantRejected if error.error in ("invalid_grant", "access_denied") else ProviderUnavailable
        raise kind(str(error.error)[:64]) from None
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise (GrantRejected if status == 401 else ProviderUnavailable)(f"HTTP {status}") from None
    except httpx2.TimeoutException:
        raise ProviderUnavailable("timeout") from None
    except httpx2.HTTPError as error:
        raise ProviderUnavailable(type(error).__name__) from None
    except (ValueError, KeyError, TypeError, OverflowError):
        raise ProviderUnavailable("malformed answer") from None
