"""The connection of a provider: authorise, come back from the provider, refresh, synchronise, disconnect."""

import secrets
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import AnyUrl

from app.api.dependencies import (
    BROWSER_COOKIE,
    AppResources,
    Browser,
    CallbackURL,
    CurrentRoundTrip,
    CurrentUser,
    DatabaseSession,
)
from app.api.problems import documented
from app.api.schemas import AuthorisationStart, ProviderRead, SyncRead, TokenRefresh
from app.models import Provider
from app.services import authorisation, connections

router = APIRouter(tags=["connections"])

_CONNECTION_PROBLEMS = documented(
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@router.post(
    "/providers/{provider_id}/authorise",
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def authorise(
    user: CurrentUser,
    resources: AppResources,
    session: DatabaseSession,
    provider_id: UUID,
    callback_url: CallbackURL,
    response: Response,
    browser: Browser = "",
) -> AuthorisationStart:
    """Begin an authorisation. Only the browser that sent this request (a cookie tells) can finish it."""
    browser = browser or secrets.token_urlsafe(32)
    url = await authorisation.start_authorisation(
        session, user.id, provider_id, callback_url=callback_url, browser=browser
    )
    response.set_cookie(
        BROWSER_COOKIE, browser, httponly=True, samesite="lax", secure=callback_url.startswith("https:")
    )
    response.headers["Cache-Control"] = "no-store"
    return AuthorisationStart(
        authorisation_url=AnyUrl(url), expires_in=resources.settings.authorisation_lifetime
    )


@router.get(
    "/oauth/callback",
    name="oauth_callback",
    response_model=ProviderRead,
    responses=documented(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def complete_authorisation(
    session: DatabaseSession,
    trip: CurrentRoundTrip,
    code: Annotated[str | None, Query(max_length=4096)] = None,
    error: Annotated[str | None, Query(max_length=64, pattern=r"^[a-z_]+$")] = None,
) -> Provider:
    """Where the provider sends the browser back to. The signed `state` says whose authorisation it is."""
    return await authorisation.complete_authorisation(session, trip, code=code, error=error)


@router.post("/providers/{provider_id}/refresh", response_model=ProviderRead, responses=_CONNECTION_PROBLEMS)
async def refresh_token(
    user: CurrentUser, session: DatabaseSession, provider_id: UUID, body: TokenRefresh | None = None
) -> Provider:
    """Trade the tokens for new ones. Of several requests for the same version exactly one succeeds."""
    version = body.expected_version if body else None
    return await connections.refresh_token(session, user.id, provider_id, expected_version=version)


@router.post("/providers/{provider_id}/sync", responses=_CONNECTION_PROBLEMS)
async def synchronise(user: CurrentUser, session: DatabaseSession, provider_id: UUID) -> SyncRead:
    """Fetch the accounts from the provider."""
    provider, accounts = await connections.synchronise(session, user.id, provider_id)
    return SyncRead(provider=ProviderRead.model_validate(provider), accounts=list(accounts))


@router.post(
    "/providers/{provider_id}/disconnect",
    response_model=ProviderRead,
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def disconnect(user: CurrentUser, session: DatabaseSession, provider_id: UUID) -> Provider:
    """Revoke the tokens, at the provider and here."""
    return await connections.disconnect(session, user.id, provider_id)
