"""A user's providers: to add, list, read and rename. Removing one ends its connection: see connections."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from app import errors
from app.database import violated_constraint
from app.models import Connection, ConnectionStatus, Provider
from app.pages import FIRST, Page, Window, fetch_page
from app.services.catalogue import get_offered_entry

# What a provider is shown with. Everything is loaded here: a lazy load cannot await.
_COMPLETE = (
    joinedload(Provider.entry),
    joinedload(Provider.connection).joinedload(Connection.token),
)


async def create_provider(session: AsyncSession, user_id: int, key: str, alias: str) -> Provider:
    """Add a provider of the catalogue under an alias, with a connection that waits to be authorised.

    Raises UnknownKey, NotAvailable, AliasTaken.
    """
    entry = await get_offered_entry(session, key)
    connection = Connection(status=ConnectionStatus.PENDING, token=None)
    provider = Provider(user_id=user_id, entry=entry, alias=alias, connection=connection)
    session.add(provider)
    await _commit_alias(session, alias)
    return provider


async def list_providers(
    session: AsyncSession,
    user_id: int,
    *,
    key: str | None = None,
    status: ConnectionStatus | None = None,
    window: Window = FIRST,
) -> Page[Provider]:
    """A page of the user's providers, oldest first."""
    mine = select(Provider).where(Provider.user_id == user_id)
    if key is not None:
        mine = mine.where(Provider.key == key)
    if status is not None:
        mine = mine.where(Provider.connection.has(Connection.status == status))
    oldest_first = (Provider.created_at, Provider.id)
    return await fetch_page(session, mine, window, order_by=oldest_first, options=_COMPLETE)


async def get_provider(session: AsyncSession, user_id: int, provider_id: UUID) -> Provider:
    """One of the user's providers, with its catalogue entry, connection and token.

    Raises NoSuchProvider, also for another user's.
    """
    provider = await session.scalar(
        select(Provider).where(Provider.id == provider_id, Provider.user_id == user_id).options(*_COMPLETE)
    )
    if provider is None:
        raise errors.NoSuchProvider(f"You have no provider {provider_id}.")
    return provider


async def rename_provider(session: AsyncSession, user_id: int, provider_id: UUID, alias: str) -> Provider:
    """Give a provider another alias.

    Raises NoSuchProvider, AliasTaken.
    """
    provider = await get_provider(session, user_id, provider_id)
    provider.alias = alias
    await _commit_alias(session, alias)
    return provider


async def _commit_alias(session: AsyncSession, alias: str) -> None:
    # The unique constraint decides, not a query before it: two requests at once would both pass the query.
    try:
        await session.commit()
    except IntegrityError as error:
        await session.rollback()
        if violated_constraint(error) == "uq_providers_user_id_alias":
            raise errors.AliasTaken(f"You have a provider with the alias {alias!r} already.") from None
        raise
