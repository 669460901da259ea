"""What endpoints depend on: the session, the user who asks, the page that is asked for."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app import security
from app.database import get_session
from app.models import User
from app.problems import Unauthorised
from app.services import accounts
from app.settings import get_settings

DatabaseSession = Annotated[AsyncSession, Depends(get_session)]
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def current_user(session: DatabaseSession, credentials: _Credentials) -> User:
    """The user whose access token the request bears.

    Raises Unauthorised (not-authenticated, invalid-token).
    """
    if credentials is None:
        raise Unauthorised("not-authenticated", "Log in and send the access token as a bearer token.")
    try:
        claims = security.verify(security.Purpose.ACCESS, credentials.credentials)
    except security.InvalidToken:
        detail = "The access token is not valid or has expired: log in again."
        raise Unauthorised("invalid-token", detail, error="invalid_token") from None
    return await accounts.get_user(session, int(claims["sub"]))


CurrentUser = Annotated[User, Depends(current_user)]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that is asked for."""

    limit: Annotated[int, Query(ge=1, le=100)] = 20
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0


PageWindow = Annotated[Window, Depends()]


def callback_url(request: Request) -> str:
    """Where providers send the browser back to: on PUBLIC_URL, else on the host that was asked."""
    public_url = get_settings().public_url
    if public_url is None:
        return str(request.url_for("oauth_callback"))
    return f"{str(public_url).rstrip('/')}{request.app.url_path_for('oauth_callback')}"


CallbackURL = Annotated[str, Depends(callback_url)]
