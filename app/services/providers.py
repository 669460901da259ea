"""A user's providers: to add, list, read and rename. Removing one ends its connection: see connections."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from app.audit import act_as
from app.database import violated_constraint
from app.models import Connection, ConnectionStatus, Provider
from app.problems import Conflict, NotFound
from app.services.catalogue import get_offered_entry

# What a provider is shown with. Everything is loaded here: a lazy load cannot await.
_COMPLETE = (
    joinedload(Provider.entry),
    joinedload(Provider.connection).joinedload(Connection.token),
)


async def create_provider(session: AsyncSession, user_id: int, key: str, alias: str) -> Provider:
    """Add a provider of the catalogue under an alias, with a connection that waits to be authorised.

    Raises Unprocessable (unknown-key), Conflict (not-available, alias-taken).
    """
    act_as(session, user_id)
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
    limit: int = 20,
    offset: int = 0,
) -> tuple[Sequence[Provider], int]:
    """A page of the user's providers, oldest first, and how many there are in all pages."""
    mine = select(Provider).where(Provider.user_id == user_id)
    if key is not None:
        mine = mine.where(Provider.key == key)
    if status is not None:
        mine = mine.where(Provider.connection.has(Connection.status == status))
    total = await session.scalar(select(func.count()).select_from(mine.subquery()))
    page = mine.order_by(Provider.created_at, Provider.id).limit(limit).offset(offset)
    providers = await session.scalars(page.options(*_COMPLETE))
    return providers.all(), total or 0


async def get_provider(session: AsyncSession, user_id: int, provider_id: UUID) -> Provider:
    """One of the user's providers, with its catalogue entry, connection and token.

    Raises NotFound (no-such-provider), also for another user's.
    """
    provider = await session.scalar(
        select(Provider).where(Provider.id == provider_id, Provider.user_id == user_id).options(*_COMPLETE)
    )
    if provider is None:
        raise NotFound("no-such-provider", f"You have no provider {provider_id}.")
    return provider


async def rename_provider(session: AsyncSession, user_id: int, provider_id: UUID, alias: str) -> Provider:
    """Give a provider another alias.

    Raises NotFound (no-such-provider), Conflict (alias-taken).
    """
    act_as(session, user_id)
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
            raise Conflict("alias-taken", f"You have a provider with the alias {alias!r} already.") from None
        raise
