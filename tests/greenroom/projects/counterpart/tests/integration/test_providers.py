"""The services of the catalogue and of a user's providers."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app import errors
from app.models import CatalogueEntry, Connection, ConnectionStatus, Provider, User
from app.pages import Window
from app.services import catalogue, connections, providers
from app.services.upstream import lock_connection
from tests.conftest import Statements
from tests.factories import connect, make_provider, make_user

pytestmark = pytest.mark.asyncio


async def test_catalogue(service_session: AsyncSession) -> None:
    """Entries come by name; those that are not available only on request."""
    offered = await catalogue.list_entries(service_session)
    everything = await catalogue.list_entries(service_session, include_unavailable=True)

    assert [entry.key for entry in offered] == ["schwab", "sandbox"]
    assert [entry.name for entry in everything] == sorted(entry.name for entry in everything)
    assert len(everything) == 5


async def test_create(session: AsyncSession, service_session: AsyncSession, user: User) -> None:
    """A creation is committed: the test's session sees the provider, its connection and its entry."""
    created = await providers.create_provider(service_session, user.id, "sandbox", "Mine")

    loaded = selectinload(Provider.connection).selectinload(Connection.token)
    options = [selectinload(Provider.user), selectinload(Provider.entry), loaded]
    provider = await session.get_one(Provider, created.id, options=options)
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
async def test_create_in_vain(
    session: AsyncSession,
    service_session: AsyncSession,
    provider: Provider,
    key: str,
    alias: str,
    error: type[errors.ServiceError],
) -> None:
    """An unknown or unavailable key and an alias that is taken are errors, and nothing is created."""
    with pytest.raises(error):
        await providers.create_provider(service_session, provider.user_id, key, alias)

    assert await session.scalar(select(func.count()).select_from(Provider)) == 1


async def test_list(session: AsyncSession, service_session: AsyncSession, user: User) -> None:
    """Pages, filters and totals are those of one user, in the order of creation."""
    await make_provider(session, await make_user(session, "grace@example.org"), alias="Theirs")
    await connect(session, await make_provider(session, user, alias="B"))
    await make_provider(session, user, alias="A")
    await make_provider(session, user, alias="C", key="schwab")

    async def aliases(**filters: object) -> tuple[str, int]:
        page = await providers.list_providers(service_session, user.id, **filters)
        return "".join(provider.alias for provider in page.items), page.total

    assert await aliases() == ("BAC", 3)
    assert await aliases(window=Window(limit=1, offset=1)) == ("A", 3)
    assert await aliases(key="sandbox") == ("BA", 2)
    assert await aliases(status=ConnectionStatus.ACTIVE) == ("B", 1)
    assert await aliases(key="schwab", status=ConnectionStatus.ACTIVE) == ("", 0)


async def test_list_is_of_one_moment(
    service_session: AsyncSession, user: User, provider: Provider, statements: Statements
) -> None:
    """A page and its total come from one statement: nobody can add a provider in between."""
    with statements() as sent:
        page = await providers.list_providers(service_session, user.id)

    assert (len(page.items), page.total, len(sent)) == (1, 1, 1)


async def test_read_provider_is_complete(
    session: AsyncSession, service_session: AsyncSession, provider: Provider
) -> None:
    """What the service returns can be walked without a query: entry, connection and token are loaded."""
    await connect(session, provider)

    loaded = await providers.get_provider(service_session, provider.user_id, provider.id)
    await service_session.close()

    assert loaded.entry.name == "Sandbox"
    assert loaded.connection.token is not None
    assert loaded.connection.token.scopes == ["accounts"]


async def test_provider_of_another_user(
    session: AsyncSession, service_session: AsyncSession, provider: Provider
) -> None:
    """Another user's provider is not found, whatever is to be done with it."""
    other = (await make_user(session, "grace@example.org")).id

    for attempt in (
        providers.get_provider(service_session, other, provider.id),
        providers.get_provider(service_session, provider.user_id, uuid4()),
        providers.rename_provider(service_session, other, provider.id, "Mine now"),
        connections.delete_provider(service_session, other, provider.id),
        connections.refresh_token(service_session, other, provider.id),
        connections.synchronise(service_session, other, provider.id),
        connections.disconnect(service_session, other, provider.id),
    ):
        with pytest.raises(errors.NoSuchProvider, match="You have no provider"):
            await attempt


async def test_rename(session: AsyncSession, service_session: AsyncSession, provider: Provider) -> None:
    """A new alias is committed, and the change is dated by the database."""
    before = provider.updated_at

    renamed = await providers.rename_provider(service_session, provider.user_id, provider.id, "Mine")

    await session.refresh(provider)
    assert provider.alias == renamed.alias == "Mine"
    assert provider.updated_at == renamed.updated_at > before


async def test_rename_to_an_alias_that_is_taken(
    session: AsyncSession, service_session: AsyncSession, user: User, provider: Provider
) -> None:
    """The unique constraint decides, and the name stays as it was."""
    other = await make_provider(session, user, alias="Holidays")

    with pytest.raises(errors.AliasTaken, match="alias 'Everyday' already"):
        await providers.rename_provider(service_session, user.id, other.id, "Everyday")

    await session.refresh(other)
    assert other.alias == "Holidays"


async def test_other_violations_are_no_conflict(service_session: AsyncSession, user: User) -> None:
    """A constraint that the service does not know how to explain stays the error that it is."""
    with pytest.raises(DBAPIError, match="ck_providers_alias_length"):
        await providers.create_provider(service_session, user.id, "sandbox", "x" * 81)


async def test_delete(session: AsyncSession, service_session: AsyncSession, provider: Provider) -> None:
    """A provider goes with its connection and token; the user and the catalogue stay."""
    await connect(session, provider)

    await connections.delete_provider(service_session, provider.user_id, provider.id)

    for table, count in {"providers": 0, "connections": 0, "tokens": 0, "users": 1}.items():
        assert await session.scalar(text(f"SELECT count(*) FROM {table}")) == count
    assert await session.scalar(select(func.count()).select_from(CatalogueEntry)) == 5


async def test_lock_of_a_connection_that_was_removed(
    session: AsyncSession, service_session: AsyncSession, provider: Provider
) -> None:
    """When the provider is removed between reading and locking, it is not found."""
    loaded = await providers.get_provider(service_session, provider.user_id, provider.id)
    await session.delete(provider)
    await session.commit()

    with pytest.raises(errors.NoSuchProvider, match="removed in the meantime"):
        await lock_connection(service_session, loaded)


async def test_lock_that_fails_otherwise(service_session: AsyncSession, provider: Provider) -> None:
    """An error that is not about the lock is not taken for one."""
    loaded = await providers.get_provider(service_session, provider.user_id, provider.id)
    await service_session.execute(text("SET LOCAL transaction_read_only = on"))

    with pytest.raises(DBAPIError, match="read-only transaction"):
        await lock_connection(service_session, loaded)
