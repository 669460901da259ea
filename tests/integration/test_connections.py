"""The services of authorisation, refresh, synchronisation and disconnection."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app import errors
from app.main import session_factory
from app.models import Connection, ConnectionStatus, Provider, Token
from app.services import authorisation, connections
from greenroom.typing import Run
from tests.factories import connect, make_provider
from tests.fixtures import Configure, OutsideProvider

CALLBACK = "https://app.example/back"
BROWSER = "the browser's secret"


@pytest.fixture
def broker(session: Session, provider: Provider, schwab: OutsideProvider) -> Provider:
    """A provider of Ada's at the outside provider, that was never authorised."""
    return make_provider(session, provider.user, key="schwab", alias="Broker")


async def begin(session: AsyncSession, provider: Provider) -> str:
    """Begin an authorisation. Returns the state."""
    url = await authorisation.start_authorisation(
        session, provider.user_id, provider.id, callback_url=CALLBACK, browser=BROWSER
    )
    (state,) = parse_qs(urlsplit(url).query)["state"]
    return state


async def finish(session: AsyncSession, state: str, browser: str, code: str | None) -> None:
    """Come back from the provider, in a browser and with a code."""
    trip = authorisation.recognise(session, state, browser)
    await authorisation.complete_authorisation(session, trip, code=code)


def test_authorisation(
    run: Run, async_session: AsyncSession, session: Session, schwab: OutsideProvider, broker: Provider
) -> None:
    """The code is traded with the verifier whose challenge was in the URL; the tokens are stored."""
    state = run(begin(async_session, broker))

    run(finish(async_session, state, BROWSER, "the code"))

    (request,) = schwab.received
    assert request.form["redirect_uri"] == CALLBACK
    assert len(request.form["code_verifier"]) == 43
    session.refresh(broker)
    assert broker.connection.status is ConnectionStatus.ACTIVE
    assert broker.connection.authorisation is None
    assert broker.connection.token is not None
    assert broker.connection.token.access_token == "access-1"


@pytest.mark.parametrize(
    ("browser", "code", "answer", "error"),
    [
        ("another", "the code", None, errors.InvalidState),
        (BROWSER, None, None, errors.AuthorisationRefused),
        (BROWSER, "x", (400, {"error": "invalid_grant"}), errors.AuthorisationRefused),
        (BROWSER, "x", (500, "<html>"), errors.ProviderFailed),
    ],
)
def test_authorisation_in_vain(
    run: Run,
    async_session: AsyncSession,
    session: Session,
    schwab: OutsideProvider,
    broker: Provider,
    browser: str,
    code: str | None,
    answer: Any,
    error: type[errors.ServiceError],
) -> None:
    """Another browser, no code, a code that is not accepted, a provider that fails: there is no token."""
    schwab.answers["/token"] = answer or schwab.answers["/token"]
    state = run(begin(async_session, broker))

    with pytest.raises(error):
        run(finish(async_session, state, browser, code))

    assert session.scalars(select(Token)).all() == []
    # Only another browser's attempt leaves the authorisation under way.
    under_way = session.scalars(
        select(Connection.authorisation).where(Connection.provider_id == broker.id)
    ).one()
    assert (under_way is None) is (browser == BROWSER)


def test_refresh(run: Run, async_session: AsyncSession, session: Session, provider: Provider) -> None:
    """New tokens replace the old ones, as the next version."""
    token = connect(session, provider)
    before = token.access_token

    refreshed = run(connections.refresh_token(async_session, provider.user_id, provider.id))

    session.refresh(token)
    assert refreshed.connection.token is not None
    assert token.version == refreshed.connection.token.version == 2
    assert token.access_token == refreshed.connection.token.access_token != before


@pytest.mark.n_plus_one("off")  # each of the five stands for a request
def test_refreshes_at_once(run: Run, session: Session, provider: Provider) -> None:
    """Of refreshes at once of one version, in sessions of their own, exactly one succeeds."""
    token = connect(session, provider)

    async def refresh(user_id: int, provider_id: UUID) -> str:
        async with session_factory() as own:
            try:
                await connections.refresh_token(own, user_id, provider_id, expected_version=1)
            except errors.Conflict as conflict:
                return conflict.code
            return "refreshed"

    async def at_once(user_id: int, provider_id: UUID) -> list[str]:
        return await asyncio.gather(*[refresh(user_id, provider_id) for _ in range(5)])

    outcomes = run(at_once(provider.user_id, provider.id))

    assert outcomes.count("refreshed") == 1
    assert set(outcomes) <= {"refreshed", "busy", "stale-version"}
    session.refresh(token)
    assert token.version == 2


def test_sync(run: Run, async_session: AsyncSession, session: Session, provider: Provider) -> None:
    """The accounts come back, and the connection counts and dates the synchronisation."""
    connect(session, provider)

    _, accounts = run(connections.synchronise(async_session, provider.user_id, provider.id))

    assert [str(account.balance) for account in accounts] == ["1250.00", "8000.50"]
    session.refresh(provider.connection)
    assert provider.connection.sync_count == 1
    assert provider.connection.last_sync_at is not None


def test_sync_with_an_expired_token(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider
) -> None:
    """A token that is known to have expired is not tried; the status says so."""
    connect(session, provider, expires_at=datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(errors.TokenExpired):
        run(connections.synchronise(async_session, provider.user_id, provider.id))

    session.refresh(provider.connection)
    assert provider.connection.status is ConnectionStatus.EXPIRED


def test_failures_are_committed(
    run: Run, async_session: AsyncSession, session: Session, schwab: OutsideProvider, broker: Provider
) -> None:
    """What a provider's failure did to the connection is stored, although the request ends in an error."""
    connect(session, broker)
    schwab.answers["/accounts"] = 503, {}

    with pytest.raises(errors.ProviderFailed, match=r"Charles Schwab failed to answer \(HTTP 503\)"):
        run(connections.synchronise(async_session, broker.user_id, broker.id))

    session.refresh(broker.connection)
    assert (broker.connection.status, broker.connection.error_count) == (ConnectionStatus.ERROR, 1)


def test_connection_is_locked_while_the_provider_is_asked(
    run: Run, session: Session, schwab: OutsideProvider, broker: Provider
) -> None:
    """Whoever comes second does not wait for the provider, and never shows it the same token."""
    connect(session, broker)
    user_id, provider_id = broker.user_id, broker.id
    schwab.hold()

    async def second_while_first() -> tuple[str, int]:
        async with session_factory() as one, session_factory() as two:
            first = asyncio.create_task(connections.refresh_token(one, user_id, provider_id))
            await asyncio.to_thread(schwab.wait_for_request)
            try:
                await connections.refresh_token(two, user_id, provider_id)
            except errors.Conflict as conflict:
                code = conflict.code
            schwab.release()
            refreshed = (await first).connection.token
            assert refreshed is not None
            return code, refreshed.version

    assert run(second_while_first()) == ("busy", 2)
    assert [request.path for request in schwab.received] == ["/token"]


def test_missing_credentials_change_nothing(
    run: Run,
    async_session: AsyncSession,
    session: Session,
    broker: Provider,
    reconfigure: Configure,
) -> None:
    """Without client credentials nothing is sent, counted or stored."""
    connect(session, broker)
    reconfigure(OAUTH_CLIENTS=None)

    with pytest.raises(errors.NotConfigured, match="Charles Schwab is not set up here"):
        run(connections.refresh_token(async_session, broker.user_id, broker.id))

    session.refresh(broker.connection)
    assert (broker.connection.status, broker.connection.error_count) == (ConnectionStatus.ACTIVE, 0)


def test_disconnect(run: Run, async_session: AsyncSession, session: Session, provider: Provider) -> None:
    """The token's row is gone; the connection stays, as revoked."""
    connect(session, provider)

    run(connections.disconnect(async_session, provider.user_id, provider.id))

    assert session.scalars(select(Token)).all() == []
    session.refresh(provider.connection)
    assert provider.connection.status is ConnectionStatus.REVOKED
