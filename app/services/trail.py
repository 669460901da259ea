"""The audit trail, as its user may read it."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import AuditEntry


async def list_entries(
    session: AsyncSession, user_id: int, *, entity_type: str | None = None, limit: int = 20, offset: int = 0
) -> tuple[Sequence[AuditEntry], int]:
    """A page of what the user did, newest first, and how many entries there are in all pages."""
    mine = select(AuditEntry).where(AuditEntry.user_id == user_id)
    if entity_type is not None:
        mine = mine.where(AuditEntry.entity_type == entity_type)
    total = await session.scalar(select(func.count()).select_from(mine.subquery()))
    entries = await session.scalars(mine.order_by(AuditEntry.id.desc()).limit(limit).offset(offset))
    return entries.all(), total or 0
