"""The catalogue of providers."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import CatalogueEntry
from app.models.catalogue import CatalogueKind
from app.problems import Conflict, Unprocessable
from app.settings import get_settings


async def list_entries(
    session: AsyncSession, *, include_unavailable: bool = False
) -> Sequence[CatalogueEntry]:
    """The entries that can be connected to, by name; on request those of the future as well."""
    entries = await session.scalars(select(CatalogueEntry).order_by(CatalogueEntry.name))
    return [entry for entry in entries if include_unavailable or _is_on_offer(entry)]


async def get_offered_entry(session: AsyncSession, key: str) -> CatalogueEntry:
    """The entry with this key.

    Raises Unprocessable (unknown-key) or Conflict (not-available).
    """
    entry = await session.get(CatalogueEntry, key)
    if entry is None:
        raise Unprocessable("unknown-key", f"The catalogue has no {key!r}.")
    if not _is_on_offer(entry):
        raise Conflict("not-available", f"{entry.name} is not available yet.")
    return entry


def _is_on_offer(entry: CatalogueEntry) -> bool:
    return entry.available and (entry.kind is not CatalogueKind.SANDBOX or get_settings().sandbox_enabled)
