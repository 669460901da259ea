"""What all dealings with a user's provider have in common: the lock, the client, the outcome.

Whoever changes a connection holds its row lock while speaking to the provider, for OAUTH_TIMEOUT at most:
refresh tokens are good for one use, and two requests must never present the same one. Whoever finds the row
locked is told so at once and does not wait.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app import errors
from app.database import sqlstate
from app.models import Connection, ConnectionStatus, Provider, Token
from app.oauth import Grant, GrantRejected, NotSetUp, ProviderClient, ProviderUnavailable
from app.resources import Resources

logger = logging.getLogger(__name__)

LOCK_NOT_AVAILABLE = "55P03"


async def lock_connection(session: AsyncSession, provider: Provider) -> Connection:
    """Lock the row of a provider's connection until the transaction ends; load it and its token afresh.

    Raises Busy when another holds the lock, NoSuchProvider when the row is gone.
    """
    locked = (
        select(Connection)
        .where(Connection.provider_id == provider.id)
        .options(selectinload(Connection.token))
        .with_for_update(nowait=True)
        .execution_options(populate_existing=True)
    )
    try:
        connection = await session.scalar(locked)
    except DBAPIError as error:
        await session.rollback()
        if sqlstate(error) == LOCK_NOT_AVAILABLE:
            raise errors.Busy("Another request is at work on this connection; try again.") from None
        raise
    if connection is None:
        raise errors.NoSuchProvider("The provider was removed in the meantime.")
    return connection


def token_of(provider: Provider) -> Token:
    """The token of a provider's connection. Raises NotConnected."""
    token = provider.connection.token
    if token is None:
        raise errors.NotConnected(f"{provider.alias!r} is not connected: authorise it first.")
    return token


def store_grant(connection: Connection, grant: Grant) -> None:
    """Put what the provider issued into the connection's token. The connection is active from here on."""
    if connection.token is None:
        connection.token = Token()
    connection.token.access_token = grant.access_token
    connection.token.refresh_token = grant.refresh_token or connection.token.refresh_token
    connection.token.expires_at = grant.expires_at
    connection.token.scopes = grant.scopes
    mark_working(connection)


def mark_working(connection: Connection) -> None:
    """Note that the provider answered as it should."""
    connection.status = ConnectionStatus.ACTIVE
    connection.error_count = 0
    connection.last_error = None


@asynccontextmanager
async def speaking_to(
    session: AsyncSession, provider: Provider, *, refusal: errors.ServiceError | None = None
) -> AsyncIterator[ProviderClient]:
    """A client for the provider; its failures are noted on the connection, committed and raised in the service's words.

    These are NotConfigured, ProviderFailed and, where the provider does not accept the grant, `refusal`: by
    default the connection's end, AuthorisationLapsed.
    """
    connection, name = provider.connection, provider.entry.name
    try:
        yield Resources.of(session).client_of(provider.entry)
        return
    except NotSetUp as failure:
        raise errors.NotConfigured(f"{name} is not set up here: {failure}.") from failure
    except GrantRejected as failure:
        reason = str(failure)
        if refusal is None:
            connection.status = ConnectionStatus.EXPIRED
            refusal = errors.AuthorisationLapsed(f"{name} no longer accepts the tokens: authorise again.")
        error = refusal
    except ProviderUnavailable as failure:
        reason = str(failure)
        connection.status = ConnectionStatus.ERROR
        error = errors.ProviderFailed(f"{name} failed to answer ({reason}): try again later.")
    connection.error_count += 1
    connection.last_error = reason
    await session.commit()
    logger.warning("provider %s (%s) failed: %s", provider.id, provider.key, reason)
    raise error
