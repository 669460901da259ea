"""The catalogue of providers, for users to choose from."""

from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter

from app.api.dependencies import CurrentUser, DatabaseSession
from app.api.problems import documented
from app.api.schemas import CatalogueEntryRead
from app.models import CatalogueEntry
from app.services import catalogue

router = APIRouter(tags=["catalogue"])


@router.get(
    "/catalogue", response_model=list[CatalogueEntryRead], responses=documented(HTTPStatus.UNAUTHORIZED)
)
async def list_catalogue(
    _user: CurrentUser, session: DatabaseSession, include_unavailable: bool = False
) -> Sequence[CatalogueEntry]:
    """What can be connected to; with `include_unavailable`, also what cannot be yet."""
    return await catalogue.list_entries(session, include_unavailable=include_unavailable)
