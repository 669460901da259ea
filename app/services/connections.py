"""The life of an authorised connection: refresh, synchronise, disconnect, and removal with its provider."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app import errors
from app.models import ConnectionStatus, Provider, Token
from app.oauth import Account, ProviderError
from app.resources import Resources
from app.services.providers import get_provider
from app.services.upstream import lock_connection, mark_working, speaking_to, store_grant, token_of

logger = logging.getLogger(__name__)


async def refresh_token(
    session: AsyncSession, user_id: int, provider_id: UUID, *, expected_version: int | None = None
) -> Provider:
    """Trade the connection's tokens for new ones.

    Of several at once exactly one does. The others raise Busy while it is at work, StaleVersion
    once it has finished. `expected_version` is the version that the caller knows, by default the one at the
    time of the call.

    Raises further NotConnected, NoRefreshToken, AuthorisationLapsed, NoSuchProvider, ProviderFailed,
    NotConfigured.
    """
    provider = await get_provider(session, user_id, provider_id)
    if expected_version is None:
        expected_version = token_of(provider).version
    connection = await lock_connection(session, provider)
    token = token_of(provider)
    if token.version != expected_version:
        detail = f"The tokens are at version {token.version}, no longer at {expected_version}."
        raise errors.StaleVersion(detail, version=token.version)
    if token.refresh_token is None:
        raise errors.NoRefreshToken(f"{provider.entry.name} gave no refresh token: authorise again.")
    async with speaking_to(session, provider) as client:
        grant = await client.refresh(token.refresh_token)
    store_grant(connection, grant)
    await session.commit()
    return provider


async def synchronise(
    session: AsyncSession, user_id: int, provider_id: UUID
) -> tuple[Provider, Sequence[Account]]:
    """Fetch the user's accounts from the provider.

    Raises NotConnected, TokenExpired, AuthorisationLapsed, Busy, NoSuchProvider, ProviderFailed, NotConfigured.
    """
    provider = await get_provider(session, user_id, provider_id)
    connection = await lock_connection(session, provider)
    token = token_of(provider)
    now = datetime.now(UTC)
    if token.expires_at <= now:
        connection.status = ConnectionStatus.EXPIRED
        await session.commit()
        raise errors.TokenExpired("The access token has expired: refresh it first.")
    async with speaking_to(session, provider) as client:
        accounts = await client.accounts(token.access_token)
    mark_working(connection)
    connection.sync_count += 1
    connection.last_sync_at = now
    await session.commit()
    return provider, accounts


async def disconnect(session: AsyncSession, user_id: int, provider_id: UUID) -> Provider:
    """Revoke the tokens, at the provider and here. A later authorisation connects again.

    Raises NotConnected, Busy, NoSuchProvider.
    """
    provider = await get_provider(session, user_id, provider_id)
    connection = await lock_connection(session, provider)
    await _revoke(session, provider, token_of(provider))
    connection.token = None
    connection.authorisation = None
    connection.status = ConnectionStatus.REVOKED
    await session.commit()
    return provider


async def delete_provider(session: AsyncSession, user_id: int, provider_id: UUID) -> None:
    """Remove a provider with its connection; tokens are revoked at the provider first.

    Raises Busy, NoSuchProvider.
    """
    provider = await get_provider(session, user_id, provider_id)
    connection = await lock_connection(session, provider)
    if connection.token is not None:
        await _revoke(session, provider, connection.token)
    await session.delete(provider)
    await session.commit()


async def _revoke(session: AsyncSession, provider: Provider, token: Token) -> None:
    # The user's wish counts, whether or not the provider can be told.
    try:
        await (
            Resources.of(session).client_of(provider.entry).revoke(token.refresh_token or token.access_token)
        )
    except ProviderError as failure:
        logger.warning("provider %s (%s) could not be told to revoke: %s", provider.id, provider.key, failure)
