"""The services of the catalogue and of a user's providers."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app import errors
from app.models import CatalogueEntry, ConnectionStatus, Provider, User
from app.pages import Window
from app.services import catalogue, connections, providers
from app.services.upstream import lock_connection
from greenroom.typing import RecordQueries, Run
from tests.factories import connect, make_provider, make_user


def test_catalogue(run: Run, async_session: AsyncSession) -> None:
    """Entries come by name; those that are not available only on request."""
    offered = run(catalogue.list_entries(async_session))
    everything = run(catalogue.list_entries(async_session, include_unavailable=True))

    assert [entry.key for entry in offered] == ["schwab", "sandbox"]
    assert [entry.name for entry in everything] == sorted(entry.name for entry in everything)
    assert len(everything) == 5


def test_create(run: Run, async_session: AsyncSession, session: Session, user: User) -> None:
    """A creation is committed: the test's session sees the provider, its connection and its entry."""
    created = run(providers.create_provider(async_session, user.id, "sandbox", "Mine"))

    provider = session.get_one(Provider, created.id)
    assert (provider.user.email, provider.alias, provider.entry.name) == (user.email, "Mine", "Sandbox")
    assert provider.connection.status is ConnectionStatus.PENDING
    assert provider.connection.token is None


@pytest.mark.parametrize(
    ("key", "alias", "error"),
    [
        ("mattress", "x", errors.UnknownKey),
        ("chase", "x", errors.NotAvailable),
        ("schwab", "Everyday", errors.AliasTaken),
    ],
)
def test_create_in_vain(
    run: Run,
    async_session: AsyncSession,
    session: Session,
    provider: Provider,
    key: str,
    alias: str,
    error: type[errors.ServiceError],
) -> None:
    """An unknown or unavailable key and an alias that is taken are errors, and nothing is created."""
    with pytest.raises(error):
        run(providers.create_provider(async_session, provider.user_id, key, alias))

    assert session.scalar(select(func.count()).select_from(Provider)) == 1


def test_list(run: Run, async_session: AsyncSession, session: Session, user: User) -> None:
    """Pages, filters and totals are those of one user, in the order of creation."""
    make_provider(session, make_user(session, "grace@example.org"), alias="Theirs")
    connect(session, make_provider(session, user, alias="B"))
    make_provider(session, user, alias="A")
    make_provider(session, user, alias="C", key="schwab")

    async def aliases(**filters: object) -> tuple[str, int]:
        page = await providers.list_providers(async_session, user.id, **filters)  # type: ignore[arg-type]
        return "".join(provider.alias for provider in page.items), page.total

    assert run(aliases()) == ("BAC", 3)
    assert run(aliases(window=Window(limit=1, offset=1))) == ("A", 3)
    assert run(aliases(key="sandbox")) == ("BA", 2)
    assert run(aliases(status=ConnectionStatus.ACTIVE)) == ("B", 1)
    assert run(aliases(key="schwab", status=ConnectionStatus.ACTIVE)) == ("", 0)


def test_list_is_of_one_moment(
    run: Run, async_session: AsyncSession, user: User, provider: Provider, queries: RecordQueries
) -> None:
    """A page and its total come from one statement: nobody can add a provider in between."""
    with queries() as sent:
        page = run(providers.list_providers(async_session, user.id))

    assert (len(page.items), page.total, len(sent.statements)) == (1, 1, 1)


def test_read_provider_is_complete(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider
) -> None:
    """What the service returns can be walked without a query: entry, connection and token are loaded."""
    connect(session, provider)

    loaded = run(providers.get_provider(async_session, provider.user_id, provider.id))
    run(async_session.close())

    assert loaded.entry.name == "Sandbox"
    assert loaded.connection.token is not None
    assert loaded.connection.token.scopes == ["accounts"]


def test_provider_of_another_user(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider
) -> None:
    """Another user's provider is not found, whatever is to be done with it."""
    other = make_user(session, "grace@example.org").id

    for attempt in (
        providers.get_provider(async_session, other, provider.id),
        providers.get_provider(async_session, provider.user_id, uuid4()),
        providers.rename_provider(async_session, other, provider.id, "Mine now"),
        connections.delete_provider(async_session, other, provider.id),
        connections.refresh_token(async_session, other, provider.id),
        connections.synchronise(async_session, other, provider.id),
        connections.disconnect(async_session, other, provider.id),
    ):
        with pytest.raises(errors.NoSuchProvider, match="You have no provider"):
            run(attempt)


def test_rename(run: Run, async_session: AsyncSession, session: Session, provider: Provider) -> None:
    """A new alias is committed, and the change is dated by the database."""
    before = provider.updated_at

    renamed = run(providers.rename_provider(async_session, provider.user_id, provider.id, "Mine"))

    session.refresh(provider)
    assert provider.alias == renamed.alias == "Mine"
    assert provider.updated_at == renamed.updated_at > before


def test_rename_to_an_alias_that_is_taken(
    run: Run, async_session: AsyncSession, session: Session, user: User, provider: Provider
) -> None:
    """The unique constraint decides, and the name stays as it was."""
    other = make_provider(session, user, alias="Holidays")

    with pytest.raises(errors.AliasTaken, match="alias 'Everyday' already"):
        run(providers.rename_provider(async_session, user.id, other.id, "Everyday"))

    session.refresh(other)
    assert other.alias == "Holidays"


def test_other_violations_are_no_conflict(run: Run, async_session: AsyncSession, user: User) -> None:
    """A constraint that the service does not know how to explain stays the error that it is."""
    with pytest.raises(DBAPIError, match="ck_providers_alias_length"):
        run(providers.create_provider(async_session, user.id, "sandbox", "x" * 81))


def test_delete(run: Run, async_session: AsyncSession, session: Session, provider: Provider) -> None:
    """A provider goes with its connection and token; the user and the catalogue stay."""
    connect(session, provider)

    run(connections.delete_provider(async_session, provider.user_id, provider.id))

    for table, count in {"providers": 0, "connections": 0, "tokens": 0, "users": 1}.items():
        assert session.scalar(text(f"SELECT count(*) FROM {table}")) == count
    assert session.scalar(select(func.count()).select_from(CatalogueEntry)) == 5


def test_lock_of_a_connection_that_was_removed(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider
) -> None:
    """When the provider is removed between reading and locking, it is not found."""
    loaded = run(providers.get_provider(async_session, provider.user_id, provider.id))
    session.delete(provider)
    session.commit()

    with pytest.raises(errors.NoSuchProvider, match="removed in the meantime"):
        run(lock_connection(async_session, loaded))


def test_lock_that_fails_otherwise(run: Run, async_session: AsyncSession, provider: Provider) -> None:
    """An error that is not about the lock is not taken for one."""

    async def lock_in_a_failed_transaction() -> None:
        loaded = await providers.get_provider(async_session, provider.user_id, provider.id)
        await async_session.execute(text("SET LOCAL transaction_read_only = on"))
        await lock_connection(async_session, loaded)

    with pytest.raises(DBAPIError, match="read-only transaction"):
        run(lock_in_a_failed_transaction())
