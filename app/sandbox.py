"""A pretend provider inside the process: an OAuth2 authorisation server and a bank with two accounts.

Codes and tokens are signed statements, so that any worker process understands them; what has been used up or
revoked is remembered in memory.
"""

import base64
import hashlib
import hmac
import time
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import jwt
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

CODE_LIFETIME = 60  # seconds
REFRESH_LIFETIME = 30 * 24 * 3600  # seconds
ACCOUNTS = [
    {"id": "sandbox-checking", "name": "Checking", "currency": "USD", "balance": "1250.00"},
    {"id": "sandbox-savings", "name": "Savings", "currency": "USD", "balance": "8000.50"},
]


class _Refusal(Exception):
    """An OAuth2 error answer (RFC 6749 §5.2)."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.status = status


class Sandbox:
    """An authorisation server for one client. `app` is the ASGI application, `token_lifetime` is in seconds.

    `public_url` is where browsers reach the process. Without it, that is whatever host a request names.

    It is strict: PKCE with S256, codes and refresh tokens that are good for one use, and the end of a whole
    grant when one of them comes a second time.
    """

    def __init__(
        self, client_id: str, client_secret: str, token_lifetime: int, public_url: str | None = None
    ) -> None:
        self.client_id = client_id
        self.client_secret = SecretStr(client_secret)
        self._token_lifetime = token_lifetime
        self._origin = _origin(public_url) if public_url else None
        self._used: dict[str, int] = {}  # codes and refresh tokens, by id, until they expire (epoch seconds)
        self._revoked: dict[str, int] = {}  # grants, by id, until the last of their tokens expires
        self.app = Starlette(
            routes=[
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/revoke", self.revoke, methods=["POST"]),
                Route("/accounts", self.accounts),
            ],
            exception_handlers={_Refusal: _refuse},
        )
        self.app.router.redirect_slashes = False

    async def authorize(self, request: Request) -> Response:
        """GET: approve at once and send the browser back with a code; `&decision=deny` refuses instead."""
        query = request.query_params
        callback = query.get("redirect_uri", "")
        if query.get("client_id") != self.client_id or not self._is_own(callback, request):
            return PlainTextResponse("unknown client_id or redirect_uri", 400)
        if query.get("decision") == "deny":
            answer = {"error": "access_denied"}
        elif query.get("response_type") != "code" or query.get("code_challenge_method") != "S256":
            answer = {"error": "invalid_request"}
        else:
            answer = {
                "code": self._issue(
                    "code",
                    CODE_LIFETIME,
                    grant=str(uuid4()),
                    scope=query.get("scope", ""),
                    callback=callback,
                    challenge=query.get("code_challenge", ""),
                )
            }
        return RedirectResponse(f"{callback}?{urlencode({**answer, 'state': query.get('state', '')})}", 302)

    async def token(self, request: Request) -> Response:
        """POST: a code or a refresh token for a new pair of tokens."""
        form = await self._authenticated_form(request)
        match form.get("grant_type"):
            case "authorization_code":
                claims = self._use("code", form.get("code", ""))
                challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
                expected = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
                if claims["callback"] != form.get("redirect_uri") or claims["challenge"] != expected:
                    raise _Refusal("invalid_grant")
            case "refresh_token":
                claims = self._use("refresh", form.get("refresh_token", ""))
            case _:
                raise _Refusal("unsupported_grant_type")
        same = {"grant": claims["grant"], "scope": claims["scope"]}
        return JSONResponse(
            {
                "access_token": self._issue("access", self._token_lifetime, **same),
                "refresh_token": self._issue("refresh", REFRESH_LIFETIME, **same),
                "token_type": "Bearer",
                "expires_in": self._token_lifetime,
                "scope": claims["scope"],
            },
            headers={"Cache-Control": "no-store"},
        )

    async def revoke(self, request: Request) -> Response:
        """POST: end the grant that a token belongs to. Unknown tokens are fine, they are revoked already."""
        form = await self._authenticated_form(request)
        for kind in ("refresh", "access"):
            try:
                claims = self._read(kind, form.get("token", ""))
            except _Refusal:
                continue
            self._end(claims["grant"])
        return Response()

    async def accounts(self, request: Request) -> Response:
        """GET: the accounts, for a bearer of an access token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            self._read("access", token if scheme.lower() == "bearer" else "")
        except _Refusal:
            raise _Refusal("invalid_token", 401) from None
        return JSONResponse({"accounts": ACCOUNTS})

    def _is_own(self, callback: str, request: Request) -> bool:
        # Only ever back to where the sandbox itself lives: anything else would be an open redirect.
        try:
            origin = _origin(callback)
        except ValueError:
            return False
        if self._origin is not None:
            return origin == self._origin
        return origin[0] in ("http", "https") and origin[1] == request.url.netloc

    def _issue(self, kind: str, lifetime: int, **claims: str) -> str:
        payload = {**claims, "aud": kind, "jti": str(uuid4()), "exp": int(time.time()) + lifetime}
        return jwt.encode(payload, self.client_secret.get_secret_value(), "HS256")

    def _read(self, kind: str, token: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(token, self.client_secret.get_secret_value(), ["HS256"], audience=kind)
        except jwt.InvalidTokenError:
            raise _Refusal("invalid_grant") from None
        if claims["grant"] in self._revoked:
            raise _Refusal("invalid_grant")
        return claims

    def _use(self, kind: str, token: str) -> dict[str, Any]:
        claims = self._read(kind, token)
        if claims["jti"] in self._used:
            # Two hold it, one of them is a thief: nobody keeps the grant (RFC 9700 §4.14.2).
            self._end(claims["grant"])
            raise _Refusal("invalid_grant")
        self._used = _remember(self._used, claims["jti"], claims["exp"])
        return claims

    def _end(self, grant: str) -> None:
        self._revoked = _remember(self._revoked, grant, int(time.time()) + REFRESH_LIFETIME)

    async def _authenticated_form(self, request: Request) -> dict[str, str]:
        expected = f"{self.client_id}:{self.client_secret.get_secret_value()}".encode()
        presented = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(presented, b"Basic " + base64.b64encode(expected)):
            raise _Refusal("invalid_client", 401)
        return dict(parse_qsl((await request.body()).decode("latin-1")))


def _origin(url: str) -> tuple[str, str]:
    """The scheme and the host of a URL. Raises ValueError for what is none."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _remember(memory: dict[str, int], key: str, expiry: int) -> dict[str, int]:
    now = time.time()
    return {known: until for known, until in memory.items() if until > now} | {key: expiry}


async def _refuse(_request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, _Refusal) else 500
    return JSONResponse({"error": str(error)}, status, {"Cache-Control": "no-store"})
