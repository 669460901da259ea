"""The OAuth2 round trip that connects a provider: off to the provider, and back with a code."""

import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app import errors
from app.models import Provider
from app.resources import Resources
from app.security import InvalidToken, Purpose, fingerprint
from app.services.providers import get_provider
from app.services.upstream import lock_connection, speaking_to, store_grant


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """An authorisation under way, as its `state` tells it."""

    user_id: int
    provider_id: UUID
    nonce: str
    callback_url: str


async def start_authorisation(
    session: AsyncSession, user_id: int, provider_id: UUID, *, callback_url: str, browser: str
) -> str:
    """Begin an authorisation: the URL at which the user approves it.

    The `state` in the URL is good for one use, within AUTHORISATION_LIFETIME, and only in the browser that
    holds the secret `browser`. A later start makes it void.

    Raises NoSuchProvider, NotConfigured.
    """
    resources = Resources.of(session)
    provider = await get_provider(session, user_id, provider_id)
    nonce = secrets.token_urlsafe(32)
    state = resources.security.sign(
        Purpose.AUTHORISATION,
        resources.settings.authorisation_lifetime,
        sub=str(user_id),
        provider=str(provider_id),
        nonce=nonce,
        browser=fingerprint(browser),
        callback=callback_url,
    )
    async with speaking_to(session, provider) as client:
        url = client.authorisation_url(callback_url, state, _code_verifier(session, nonce))
    provider.connection.authorisation = fingerprint(nonce)
    await session.commit()
    return url


def recognise(session: AsyncSession, state: str, browser: str) -> RoundTrip:
    """The authorisation that a `state` is of, if it comes back in the browser that began it.

    Raises InvalidState.
    """
    try:
        claims = Resources.of(session).security.verify(Purpose.AUTHORISATION, state)
    except InvalidToken:
        raise errors.InvalidState("This authorisation was not begun here or has expired.") from None
    if not hmac.compare_digest(claims["browser"], fingerprint(browser)):
        raise errors.InvalidState("This authorisation was begun in another browser.")
    return RoundTrip(
        user_id=claims["sub"],
        provider_id=UUID(claims["provider"]),
        nonce=claims["nonce"],
        callback_url=claims["callback"],
    )


async def complete_authorisation(
    session: AsyncSession, trip: RoundTrip, *, code: str | None = None, error: str | None = None
) -> Provider:
    """Finish an authorisation with what the provider sent the browser back with: a code, or an error.

    Raises InvalidState, AuthorisationRefused, Busy, NoSuchProvider, ProviderFailed, NotConfigured.
    """
    provider = await get_provider(session, trip.user_id, trip.provider_id)
    connection = await lock_connection(session, provider)
    if connection.authorisation != fingerprint(trip.nonce):
        raise errors.InvalidState("This authorisation was used, or a later one took its place.")
    connection.authorisation = None
    if code is None:
        await session.commit()
        detail = f"{provider.entry.name} did not authorise the connection ({error or 'no code'})."
        raise errors.AuthorisationRefused(detail)
    refusal = errors.AuthorisationRefused(f"{provider.entry.name} did not accept the code.")
    async with speaking_to(session, provider, refusal=refusal) as client:
        grant = await client.exchange(code, trip.callback_url, _code_verifier(session, trip.nonce))
    store_grant(connection, grant)
    await session.commit()
    return provider


def _code_verifier(session: AsyncSession, nonce: str) -> str:
    # PKCE's secret, computed again at the end of the round trip instead of being stored in between.
    return Resources.of(session).security.derive(f"pkce {nonce}")
