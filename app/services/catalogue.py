"""The catalogue of providers."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import errors
from app.models import CatalogueEntry
from app.models.catalogue import CatalogueKind
from app.resources import Resources


async def list_entries(
    session: AsyncSession, *, include_unavailable: bool = False
) -> Sequence[CatalogueEntry]:
    """The entries that can be connected to, by name; on request those of the future as well."""
    entries = await session.scalars(select(CatalogueEntry).order_by(CatalogueEntry.name))
    return [entry for entry in entries if include_unavailable or _is_on_offer(session, entry)]


async def get_offered_entry(session: AsyncSession, key: str) -> CatalogueEntry:
    """The entry with this key.

    Raises UnknownKey or NotAvailable.
    """
    entry = await session.get(CatalogueEntry, key)
    if entry is None:
        raise errors.UnknownKey(f"The catalogue has no {key!r}.")
    if not _is_on_offer(session, entry):
        raise errors.NotAvailable(f"{entry.name} is not available yet.")
    return entry


def _is_on_offer(session: AsyncSession, entry: CatalogueEntry) -> bool:
    settings = Resources.of(session).settings
    return entry.available and (entry.kind is not CatalogueKind.SANDBOX or settings.sandbox_enabled)
