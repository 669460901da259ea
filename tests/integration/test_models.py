"""The models, in a synchronous session and in the service's own."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import DateTime, func, select, text
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.models import AuditEntry, Base, CatalogueEntry, Connection, ConnectionStatus, Provider, Token, User
from app.settings import DEVELOPMENT_ENCRYPTION_KEY
from greenroom.typing import Run
from tests.factories import connect, make_provider, make_user
from tests.fixtures import Configure


def test_relationships_are_walked_lazily(session: Session, provider: Provider) -> None:
    """In the test's session each relationship loads when it is asked for, in both directions."""
    connect(session, provider)
    session.expunge_all()

    loaded = session.scalars(select(Provider)).one()

    assert loaded.connection.token is not None
    assert loaded.connection.token.scopes == ["accounts"]
    assert loaded.connection.token.connection.provider is loaded
    assert loaded.user.providers == [loaded]
    assert loaded.entry.name == "Sandbox"


def test_service_cannot_load_lazily(run: Run, async_session: AsyncSession, provider: Provider) -> None:
    """In the service the same walk raises MissingGreenlet: the tests run the asynchronous driver, as it does."""

    async def walk() -> object:
        loaded = await async_session.get_one(Provider, provider.id)
        return loaded.connection

    with pytest.raises(MissingGreenlet):
        run(walk())


def test_defaults_come_from_the_database(session: Session, user: User) -> None:
    """What is not given is filled in by the database, and known right after the flush."""
    provider = Provider(user=user, key="schwab", alias="x", connection=Connection())
    session.add(provider)
    session.flush()

    assert provider.id.version == 4
    assert provider.connection.status is ConnectionStatus.PENDING
    assert (provider.connection.error_count, provider.connection.sync_count) == (0, 0)
    assert user.is_active is True


def test_timestamps_are_aware(session: Session, provider: Provider) -> None:
    """Times carry a time zone and are the database's."""
    now = session.scalar(select(func.now()))
    connect(session, provider)

    assert now is not None
    assert provider.created_at.utcoffset() is not None
    assert abs(provider.created_at - now) < timedelta(minutes=1)
    assert {
        column.type.timezone
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, DateTime)
    } == {True}


def test_times_of_another_zone_are_the_same_moment(session: Session, provider: Provider) -> None:
    """A moment comes back as the same moment, in whichever zone it was given."""
    moment = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    token = connect(session, provider, expires_at=moment.astimezone(tz=None))
    session.refresh(token)

    assert token.expires_at == moment


def test_update_moves_the_timestamp(session: Session, provider: Provider) -> None:
    """`updated_at` follows each change; `created_at` stays."""
    created, updated = provider.created_at, provider.updated_at

    provider.alias = "Renamed"
    session.commit()

    assert provider.created_at == created
    assert provider.updated_at > updated


def test_tokens_are_encrypted_at_rest(session: Session, provider: Provider) -> None:
    """In the table a token is a ciphertext under the service's key; in the model it is plain."""
    token = connect(session, provider, access_token="plain access", refresh_token="plain refresh")

    access, refresh = session.execute(text("SELECT access_token, refresh_token FROM tokens")).one()

    assert "plain" not in access + refresh
    assert Fernet(DEVELOPMENT_ENCRYPTION_KEY).decrypt(access) == b"plain access"
    session.refresh(token)
    assert (token.access_token, token.refresh_token) == ("plain access", "plain refresh")


def test_absent_token_is_null(session: Session, provider: Provider) -> None:
    """No refresh token is NULL, not the encryption of nothing."""
    token = connect(session, provider, refresh_token=None)

    assert session.scalar(text("SELECT refresh_token IS NULL FROM tokens")) is True
    session.refresh(token)
    assert token.refresh_token is None


def test_tokens_survive_a_rotation_of_the_key(
    session: Session, provider: Provider, configure: Configure
) -> None:
    """With a new key before the old one, what is stored is still read, and rewritten under the new one."""
    token = connect(session, provider, access_token="plain")
    new = Fernet.generate_key().decode()
    configure(ENCRYPTION_KEY=f"{new},{DEVELOPMENT_ENCRYPTION_KEY}")
    session.refresh(token)
    assert token.access_token == "plain"

    token.access_token = "changed"
    session.commit()

    stored = session.scalar(text("SELECT access_token FROM tokens"))
    assert Fernet(new).decrypt(stored) == b"changed"


def test_token_counts_its_versions(session: Session, provider: Provider) -> None:
    """Each change of a token is its next version."""
    token = connect(session, provider)
    assert token.version == 1

    token.access_token = "another"
    session.commit()

    assert token.version == 2


def test_token_of_another_version_is_not_overwritten(session: Session, provider: Provider) -> None:
    """A change that was prepared from an older version fails, instead of undoing the newer one."""
    token = connect(session, provider)
    session.refresh(token)
    session.execute(text("UPDATE tokens SET version = 7"))

    token.access_token = "another"
    with pytest.raises(StaleDataError):
        session.flush()


def test_removal_takes_along_what_belongs_to_it(session: Session, user: User, provider: Provider) -> None:
    """Without a user there are no providers, connections and tokens of theirs; the audit stays."""
    connect(session, provider)
    kept = make_provider(session, make_user(session, "grace@example.org"))
    session.add(AuditEntry(user_id=user.id, action="x", entity_type="x", entity_id="1"))
    session.commit()

    session.execute(text("DELETE FROM users WHERE id = :id"), {"id": user.id})
    session.expire_all()

    assert session.scalars(select(Provider)).all() == [kept]
    assert session.scalars(select(Connection)).all() == [kept.connection]
    assert session.scalars(select(Token)).all() == []
    assert session.scalars(select(AuditEntry)).one().user_id is None


def test_token_that_its_connection_lets_go_of_is_removed(session: Session, provider: Provider) -> None:
    """A token without a connection is an orphan, and orphans are deleted."""
    connect(session, provider)

    provider.connection.token = None
    session.commit()

    assert session.scalars(select(Token)).all() == []


def test_catalogue_is_seeded(session: Session) -> None:
    """The migrations put five entries in, two of which are available."""
    entries = session.execute(select(CatalogueEntry.key, CatalogueEntry.available)).all()

    assert sorted((key, available) for key, available in entries) == [
        ("chase", False),
        ("fidelity", False),
        ("plaid", False),
        ("sandbox", True),
        ("schwab", True),
    ]
