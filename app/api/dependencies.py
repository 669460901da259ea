"""What endpoints depend on: the session, who asks, the page that is asked for.

Whoever is authenticated here is the actor of all that the request changes: no endpoint and no service says so itself.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Cookie, Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app import errors
from app.audit import act_as
from app.models import User
from app.pages import Window
from app.resources import Resources
from app.security import InvalidToken, Purpose
from app.services import accounts, authorisation
from app.services.authorisation import RoundTrip


async def get_resources(request: Request) -> Resources:
    """What the application that the request came to works with."""
    resources: Resources = request.app.state.resources
    return resources


AppResources = Annotated[Resources, Depends(get_resources)]


async def count_attempt(request: Request, resources: AppResources) -> None:
    """Count a login or registration by the address that it comes from.

    Behind a proxy this is the proxy's address, unless uvicorn trusts it to tell (FORWARDED_ALLOW_IPS).

    Raises TooManyAttempts.
    """
    resources.attempts.count_address(request.client.host if request.client else "")


async def get_session(resources: AppResources) -> AsyncIterator[AsyncSession]:
    """The request's session. What its user does not commit is rolled back."""
    async with resources.session_factory() as session:
        yield session


DatabaseSession = Annotated[AsyncSession, Depends(get_session)]
# Recognises the browser that began an authorisation, so that nobody can be talked into finishing another's.
BROWSER_COOKIE = "authorising_browser"
Browser = Annotated[str, Cookie(alias=BROWSER_COOKIE, max_length=128)]
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def authenticated_user(
    resources: AppResources, session: DatabaseSession, credentials: _Credentials
) -> User:
    """The user whose access token the request bears.

    Raises NotAuthenticated, InvalidAccessToken.
    """
    if credentials is None:
        raise errors.NotAuthenticated("Log in and send the access token as a bearer token.")
    try:
        claims = resources.security.verify(Purpose.ACCESS, credentials.credentials)
    except InvalidToken:
        detail = "The access token is not valid or has expired: log in again."
        raise errors.InvalidAccessToken(detail) from None
    return await accounts.get_user(session, claims["sub"])


async def current_user(session: DatabaseSession, user: Annotated[User, Depends(authenticated_user)]) -> User:
    """The user who asks: what the request changes is theirs in the audit."""
    act_as(session, user.id)
    return user


CurrentUser = Annotated[User, Depends(current_user)]


async def current_round_trip(
    session: DatabaseSession,
    state: Annotated[str, Query(max_length=2048)],
    browser: Browser = "",
) -> RoundTrip:
    """The authorisation that the browser comes back from. Its `state` says who asks, as a token does elsewhere.

    Raises InvalidState.
    """
    trip = authorisation.recognise(session, state, browser)
    act_as(session, trip.user_id)
    return trip


CurrentRoundTrip = Annotated[RoundTrip, Depends(current_round_trip)]


PageWindow = Annotated[Window, Depends()]


async def callback_url(request: Request, resources: AppResources) -> str:
    """Where providers send the browser back to: on PUBLIC_URL, else (in development) on the host that was asked."""
    if resources.settings.public_url is None:
        return str(request.url_for("oauth_callback"))
    return link(request, "oauth_callback")


def link(request: Request, endpoint: str, **parameters: Any) -> str:
    """Where an endpoint is: on PUBLIC_URL, else on the same host, whatever the request calls it."""
    resources: Resources = request.app.state.resources
    if resources.settings.public_url is None:
        return request.url_for(endpoint, **parameters).path
    return (
        f"{str(resources.settings.public_url).rstrip('/')}{request.app.url_path_for(endpoint, **parameters)}"
    )


CallbackURL = Annotated[str, Depends(callback_url)]
