"""The audit writes itself, in the transaction of the change."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import act_as
from app.errors import EmailTaken
from app.models import AuditEntry, CatalogueEntry, Provider, User
from app.pages import Window
from app.services import accounts, audit, connections, providers
from tests.conftest import Statements
from tests.factories import connect

pytestmark = pytest.mark.asyncio

PASSWORD = "correct horse battery staple"


async def entries(session: AsyncSession) -> list[AuditEntry]:
    """The audit, oldest first."""
    return list(await session.scalars(select(AuditEntry).order_by(AuditEntry.id)))


async def test_change_and_entry_are_committed_together(
    session: AsyncSession, service_session: AsyncSession
) -> None:
    """Before the commit neither the row nor its entry is seen from outside; after it, both are."""
    service_session.add(User(email="ada@example.org", name="Ada", password_hash="x"))
    await service_session.flush()

    assert ((await session.scalars(select(User))).all(), await entries(session)) == ([], [])

    await service_session.commit()
    user = (await session.scalars(select(User))).one()
    (entry,) = await entries(session)
    assert (entry.action, entry.entity_type, entry.entity_id) == ("user.created", "user", str(user.id))


async def test_change_and_entry_are_rolled_back_together(
    session: AsyncSession, service_session: AsyncSession
) -> None:
    """When the transaction is rolled back, the entry goes with the row."""
    service_session.add(User(email="ada@example.org", name="Ada", password_hash="x"))
    await service_session.flush()
    assert len((await service_session.scalars(select(AuditEntry))).all()) == 1

    await service_session.rollback()

    assert ((await session.scalars(select(User))).all(), await entries(session)) == ([], [])


async def test_failed_change_leaves_no_entry(
    session: AsyncSession, service_session: AsyncSession, user: User
) -> None:
    """A change that a constraint refuses is not in the audit."""
    with pytest.raises(EmailTaken):
        await accounts.register(service_session, user.email, PASSWORD, "Another")

    assert await entries(session) == []


async def test_good_changes_of_a_failed_transaction_leave_no_entry(
    session: AsyncSession, service_session: AsyncSession, user: User
) -> None:
    """What was flushed and recorded before the failing statement is undone with it."""
    loaded = await service_session.get_one(User, user.id)
    loaded.name = "Changed"
    await service_session.flush()
    service_session.add(User(email=user.email, name="Another", password_hash="x"))

    with pytest.raises(IntegrityError, match="uq_users_email"):
        await service_session.commit()

    assert await entries(session) == []
    await session.refresh(user)
    assert user.name == "Ada"


async def test_entry_says_what_changed(
    session: AsyncSession, service_session: AsyncSession, provider: Provider
) -> None:
    """An update is recorded with the attributes that changed, before and after, by whom, and when."""
    act_as(service_session, provider.user_id)
    await providers.rename_provider(service_session, provider.user_id, provider.id, "Renamed")

    (entry,) = await entries(session)

    assert (entry.user_id, entry.action) == (provider.user_id, "provider.updated")
    assert entry.entity_id == str(provider.id)
    assert entry.detail["alias"] == {"from": "Everyday", "to": "Renamed"}
    assert entry.at.utcoffset() is not None


async def test_change_of_nothing_is_not_recorded(
    session: AsyncSession, service_session: AsyncSession, provider: Provider
) -> None:
    """An attribute that is set to the value that it has is no change."""
    await providers.rename_provider(service_session, provider.user_id, provider.id, "Everyday")

    assert await entries(session) == []


async def test_secrets_are_hidden(
    session: AsyncSession, service_session: AsyncSession, provider: Provider
) -> None:
    """Of a secret the audit says that it changed, never from what to what."""
    token = await connect(session, provider)
    before = token.access_token
    user = await accounts.register(service_session, "grace@example.org", PASSWORD, "Grace")
    await connections.refresh_token(service_session, provider.user_id, provider.id)

    details = {entry.action: entry.detail for entry in await entries(session)}

    assert details["user.created"]["password_hash"] == "(hidden)"
    assert details["token.updated"]["access_token"] == "(hidden)"
    assert details["token.updated"]["refresh_token"] == "(hidden)"
    await session.refresh(token)
    for secret in (PASSWORD, user.password_hash, before, token.access_token):
        assert secret not in repr(details)


async def test_deletions_are_recorded(
    session: AsyncSession, service_session: AsyncSession, provider: Provider, statements: Statements
) -> None:
    """A removal is recorded for each row that the service deletes, orphans included, with one query for all of them."""
    await connect(session, provider)

    await connections.disconnect(service_session, provider.user_id, provider.id)
    with statements() as sent:
        await connections.delete_provider(service_session, provider.user_id, provider.id)

    assert [statement.split()[2] for statement in sent if "INSERT" in statement] == ["audit_entries"]

    deleted = [entry.action for entry in await entries(session) if entry.action.endswith(".deleted")]
    assert deleted[0] == "token.deleted"
    assert sorted(deleted[1:]) == ["connection.deleted", "provider.deleted"]


async def test_actor_of_a_change(session: AsyncSession, service_session: AsyncSession, user: User) -> None:
    """Changes are the doing of whoever the session acts as; before that, of nobody but a user themselves."""
    for key in ("one", "two"):
        entry = CatalogueEntry(key=key, name=key, description="", kind="sandbox", scopes=["x"])
        service_session.add(entry)
        await service_session.commit()
        act_as(service_session, user.id)

    assert [(entry.entity_id, entry.user_id) for entry in await entries(session)] == [
        ("one", None),
        ("two", user.id),
    ]


async def test_audit_is_of_one_user(session: AsyncSession, service_session: AsyncSession, user: User) -> None:
    """The audit is newest first, and can be narrowed to a type of entity."""
    act_as(service_session, user.id)
    for alias in ("A", "B"):
        await providers.create_provider(service_session, user.id, "sandbox", alias)
    session.add(AuditEntry(user_id=None, action="provider.created", entity_type="provider", entity_id="x"))
    await session.commit()

    page = await audit.list_entries(service_session, user.id, entity_type="provider", window=Window(limit=1))

    assert page.total == 2
    assert [entry.detail["alias"]["to"] for entry in page.items] == ["B"]


async def test_test_session_is_not_audited(session: AsyncSession, user: User) -> None:
    """What a test itself puts into the database leaves no entry: only the service's sessions are audited."""
    user.name = "Changed"
    await session.commit()

    assert await entries(session) == []
