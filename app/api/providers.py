"""The user's providers: add, list, read, rename, remove."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.api.dependencies import CurrentUser, DatabaseSession, PageWindow, link
from app.api.problems import documented
from app.api.schemas import Key, PageRead, ProviderCreate, ProviderRead, ProviderRename
from app.models import ConnectionStatus, Provider
from app.pages import Page
from app.services import connections, providers

router = APIRouter(prefix="/providers", tags=["providers"], responses=documented(HTTPStatus.UNAUTHORIZED))


@router.post(
    "",
    response_model=ProviderRead,
    status_code=HTTPStatus.CREATED,
    responses=documented(HTTPStatus.CONFLICT),
)
async def create_provider(
    user: CurrentUser, session: DatabaseSession, body: ProviderCreate, request: Request, response: Response
) -> Provider:
    """Add a provider of the catalogue. Its connection is pending until it is authorised."""
    provider = await providers.create_provider(session, user.id, body.key, body.alias)
    response.headers["Location"] = link(request, "read_provider", provider_id=provider.id)
    return provider


@router.get("", response_model=PageRead[ProviderRead])
async def list_providers(
    user: CurrentUser,
    session: DatabaseSession,
    window: PageWindow,
    key: Annotated[Key | None, Query()] = None,
    status: ConnectionStatus | None = None,
) -> Page[Provider]:
    """A page of the user's providers, oldest first, optionally of one key or with one connection status."""
    return await providers.list_providers(session, user.id, key=key, status=status, window=window)


@router.get("/{provider_id}", response_model=ProviderRead, responses=documented(HTTPStatus.NOT_FOUND))
async def read_provider(user: CurrentUser, session: DatabaseSession, provider_id: UUID) -> Provider:
    """One of the user's providers."""
    return await providers.get_provider(session, user.id, provider_id)


@router.patch(
    "/{provider_id}",
    response_model=ProviderRead,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def rename_provider(
    user: CurrentUser, session: DatabaseSession, provider_id: UUID, body: ProviderRename
) -> Provider:
    """Give a provider another alias."""
    return await providers.rename_provider(session, user.id, provider_id, body.alias)


@router.delete(
    "/{provider_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def delete_provider(user: CurrentUser, session: DatabaseSession, provider_id: UUID) -> None:
    """Remove a provider; its tokens are revoked."""
    await connections.delete_provider(session, user.id, provider_id)
