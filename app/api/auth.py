"""Registration, login and the user's own record."""

from http import HTTPStatus

from fastapi import APIRouter, Depends, Response

from app.api.dependencies import AppResources, CurrentUser, DatabaseSession, count_attempt
from app.api.problems import documented
from app.api.schemas import AccessToken, Login, Registration, UserRead
from app.models import User
from app.security import Purpose
from app.services import accounts

router = APIRouter(tags=["users"])


@router.post(
    "/auth/register",
    response_model=UserRead,
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(count_attempt)],
    responses=documented(HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def register(session: DatabaseSession, body: Registration) -> User:
    """Register a new user."""
    return await accounts.register(session, body.email, body.password.get_secret_value(), body.name)


@router.post(
    "/auth/login",
    dependencies=[Depends(count_attempt)],
    responses=documented(
        HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
async def login(
    resources: AppResources, session: DatabaseSession, body: Login, response: Response
) -> AccessToken:
    """Trade an e-mail address and a password for an access token."""
    user = await accounts.authenticate(session, body.email, body.password.get_secret_value())
    response.headers["Cache-Control"] = "no-store"
    lifetime = resources.settings.access_token_lifetime
    token = resources.security.sign(Purpose.ACCESS, lifetime, sub=str(user.id))
    return AccessToken(access_token=token, expires_in=lifetime)


@router.get("/me", response_model=UserRead, responses=documented(HTTPStatus.UNAUTHORIZED))
async def read_me(user: CurrentUser) -> User:
    """The user who asks."""
    return user
