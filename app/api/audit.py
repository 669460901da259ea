"""The audit of the user who asks."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import CurrentUser, DatabaseSession, PageWindow
from app.api.problems import documented
from app.api.schemas import AuditEntryRead, Key, PageRead
from app.models import AuditEntry
from app.pages import Page
from app.services import audit

router = APIRouter(tags=["audit"])


@router.get("/audit", response_model=PageRead[AuditEntryRead], responses=documented(HTTPStatus.UNAUTHORIZED))
async def list_audit_entries(
    user: CurrentUser,
    session: DatabaseSession,
    window: PageWindow,
    entity_type: Annotated[Key | None, Query()] = None,
) -> Page[AuditEntry]:
    """A page of what the user did, newest first, optionally to one type of entity."""
    return await audit.list_entries(session, user.id, entity_type=entity_type, window=window)
