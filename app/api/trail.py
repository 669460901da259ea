"""The audit trail of the user who asks."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import CurrentUser, DatabaseSession, PageWindow
from app.api.schemas import AuditEntryRead, Key, Page
from app.problems import documented
from app.services import trail

router = APIRouter(tags=["audit"])


@router.get("/audit", responses=documented(HTTPStatus.UNAUTHORIZED))
async def list_audit_entries(
    user: CurrentUser,
    session: DatabaseSession,
    window: PageWindow,
    entity_type: Annotated[Key | None, Query()] = None,
) -> Page[AuditEntryRead]:
    """A page of what the user did, newest first, optionally to one type of entity."""
    items, total = await trail.list_entries(
        session, user.id, entity_type=entity_type, limit=window.limit, offset=window.offset
    )
    return Page(
        items=[AuditEntryRead.model_validate(item) for item in items],
        total=total,
        limit=window.limit,
        offset=window.offset,
    )
