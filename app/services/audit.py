"""The audit, as its user may read it."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import AuditEntry
from app.pages import FIRST, Page, Window, fetch_page


async def list_entries(
    session: AsyncSession, user_id: int, *, entity_type: str | None = None, window: Window = FIRST
) -> Page[AuditEntry]:
    """A page of what the user did, newest first."""
    mine = select(AuditEntry).where(AuditEntry.user_id == user_id)
    if entity_type is not None:
        mine = mine.where(AuditEntry.entity_type == entity_type)
    return await fetch_page(session, mine, window, order_by=[AuditEntry.id.desc()])
