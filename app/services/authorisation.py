"""The OAuth2 round trip that connects a provider: off to the provider, and back with a code."""

import hmac
import secrets
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app import security
from app.audit import act_as
from app.models import Provider
from app.problems import BadRequest
from app.security import Purpose
from app.services.providers import get_provider
from app.services.upstream import lock_connection, speaking_to, store_grant
from app.settings import get_settings


async def start_authorisation(
    session: AsyncSession, user_id: int, provider_id: UUID, *, callback_url: str, browser: str
) -> str:
    """Begin an authorisation: the URL at which the user approves it.

    The `state` in the URL is good for one use, within AUTHORISATION_LIFETIME, and only in the browser that
    holds the secret `browser`. A later start makes it void.

    Raises NotFound (no-such-provider), Unavailable (not-configured).
    """
    act_as(session, user_id)
    provider = await get_provider(session, user_id, provider_id)
    nonce = secrets.token_urlsafe(32)
    state = security.sign(
        Purpose.AUTHORISATION,
        get_settings().authorisation_lifetime,
        sub=str(user_id),
        provider=str(provider_id),
        nonce=nonce,
        browser=security.fingerprint(browser),
        callback=callback_url,
    )
    async with speaking_to(session, provider) as client:
        url = client.authorisation_url(callback_url, state, _code_verifier(nonce))
    provider.connection.authorisation = security.fingerprint(nonce)
    await session.commit()
    return url


async def complete_authorisation(
    session: AsyncSession, state: str, browser: str, *, code: str | None = None, error: str | None = None
) -> Provider:
    """Finish an authorisation with what the provider sent the browser back with: a code, or an error.

    Raises BadRequest (invalid-state, authorisation-refused), Conflict (busy), NotFound (no-such-provider),
    BadGateway (provider-failed), Unavailable (not-configured).
    """
    try:
        claims = security.verify(Purpose.AUTHORISATION, state)
    except security.InvalidToken:
        raise BadRequest("invalid-state", "This authorisation was not begun here or has expired.") from None
    if not hmac.compare_digest(claims["browser"], security.fingerprint(browser)):
        raise BadRequest("invalid-state", "This authorisation was begun in another browser.")
    user_id, nonce = int(claims["sub"]), claims["nonce"]
    act_as(session, user_id)
    provider = await get_provider(session, user_id, UUID(claims["provider"]))
    connection = await lock_connection(session, provider)
    if connection.authorisation != security.fingerprint(nonce):
        raise BadRequest("invalid-state", "This authorisation was used, or a later one took its place.")
    connection.authorisation = None
    if code is None:
        await session.commit()
        detail = f"{provider.entry.name} did not authorise the connection ({error or 'no code'})."
        raise BadRequest("authorisation-refused", detail)
    refusal = BadRequest("authorisation-refused", f"{provider.entry.name} did not accept the code.")
    async with speaking_to(session, provider, refusal=refusal) as client:
        grant = await client.exchange(code, claims["callback"], _code_verifier(nonce))
    store_grant(connection, grant)
    await session.commit()
    return provider


def _code_verifier(nonce: str) -> str:
    # PKCE's secret, computed anew at the end of the round trip instead of being stored in between.
    return security.derive(f"pkce {nonce}")
