"""The audit writes itself, in the transaction of the change."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.audit import act_as
from app.errors import EmailTaken
from app.models import AuditEntry, CatalogueEntry, Provider, User
from app.pages import Window
from app.services import accounts, audit, connections, providers
from greenroom.typing import RecordQueries, Run
from tests.factories import connect

PASSWORD = "correct horse battery staple"


def entries(session: Session) -> list[AuditEntry]:
    """The audit, oldest first."""
    return list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))


def test_change_and_entry_are_committed_together(
    run: Run, async_session: AsyncSession, session: Session
) -> None:
    """Before the commit neither the row nor its entry is seen from outside; after it, both are."""

    async def register_without_commit() -> None:
        async_session.add(User(email="ada@example.org", name="Ada", password_hash="x"))
        await async_session.flush()

    run(register_without_commit())
    assert (session.scalars(select(User)).all(), entries(session)) == ([], [])

    run(async_session.commit())
    user = session.scalars(select(User)).one()
    (entry,) = entries(session)
    assert (entry.action, entry.entity_type, entry.entity_id) == ("user.created", "user", str(user.id))


def test_change_and_entry_are_rolled_back_together(
    run: Run, async_session: AsyncSession, session: Session
) -> None:
    """When the transaction is rolled back, the entry goes with the row."""

    async def register_and_roll_back() -> int:
        async_session.add(User(email="ada@example.org", name="Ada", password_hash="x"))
        await async_session.flush()
        written = len((await async_session.scalars(select(AuditEntry))).all())
        await async_session.rollback()
        return written

    assert run(register_and_roll_back()) == 1
    assert (session.scalars(select(User)).all(), entries(session)) == ([], [])


def test_failed_change_leaves_no_entry(
    run: Run, async_session: AsyncSession, session: Session, user: User
) -> None:
    """A change that a constraint refuses is not in the audit."""
    with pytest.raises(EmailTaken):
        run(accounts.register(async_session, user.email, PASSWORD, "Another"))

    assert entries(session) == []


def test_good_changes_of_a_failed_transaction_leave_no_entry(
    run: Run, async_session: AsyncSession, session: Session, user: User
) -> None:
    """What was flushed and recorded before the failing statement is undone with it."""

    async def change_then_fail() -> None:
        loaded = await async_session.get_one(User, user.id)
        loaded.name = "Changed"
        await async_session.flush()
        async_session.add(User(email=user.email, name="Another", password_hash="x"))
        await async_session.commit()

    with pytest.raises(IntegrityError, match="uq_users_email"):
        run(change_then_fail())

    assert entries(session) == []
    session.refresh(user)
    assert user.name == "Ada"


def test_entry_says_what_changed(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider
) -> None:
    """An update is recorded with the attributes that changed, before and after, by whom, and when."""
    act_as(async_session, provider.user_id)
    run(providers.rename_provider(async_session, provider.user_id, provider.id, "Renamed"))

    (entry,) = entries(session)

    assert (entry.user_id, entry.action) == (provider.user_id, "provider.updated")
    assert entry.entity_id == str(provider.id)
    assert entry.detail["alias"] == {"from": "Everyday", "to": "Renamed"}
    assert entry.at.utcoffset() is not None


def test_change_of_nothing_is_not_recorded(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider
) -> None:
    """An attribute that is set to the value that it has is no change."""
    run(providers.rename_provider(async_session, provider.user_id, provider.id, "Everyday"))

    assert entries(session) == []


def test_secrets_are_hidden(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider
) -> None:
    """Of a secret the audit says that it changed, never from what to what."""
    token = connect(session, provider)
    before = token.access_token
    user = run(accounts.register(async_session, "grace@example.org", PASSWORD, "Grace"))
    run(connections.refresh_token(async_session, provider.user_id, provider.id))

    details = {entry.action: entry.detail for entry in entries(session)}

    assert details["user.created"]["password_hash"] == "(hidden)"
    assert details["token.updated"]["access_token"] == "(hidden)"
    assert details["token.updated"]["refresh_token"] == "(hidden)"
    session.refresh(token)
    for secret in (PASSWORD, user.password_hash, before, token.access_token):
        assert secret not in repr(details)


def test_deletions_are_recorded(
    run: Run, async_session: AsyncSession, session: Session, provider: Provider, queries: RecordQueries
) -> None:
    """A removal is recorded for each row that the service deletes, orphans included, with one query for all of them."""
    connect(session, provider)

    run(connections.disconnect(async_session, provider.user_id, provider.id))
    with queries() as sent:
        run(connections.delete_provider(async_session, provider.user_id, provider.id))

    assert [statement.split()[2] for statement in sent.statements if "INSERT" in statement] == [
        "audit_entries"
    ]

    deleted = [entry.action for entry in entries(session) if entry.action.endswith(".deleted")]
    assert deleted[0] == "token.deleted"
    assert sorted(deleted[1:]) == ["connection.deleted", "provider.deleted"]


def test_actor_of_a_change(run: Run, async_session: AsyncSession, session: Session, user: User) -> None:
    """Changes are the doing of whoever the session acts as; before that, of nobody but a user themselves."""

    async def add_entries() -> None:
        for key in ("one", "two"):
            async_session.add(CatalogueEntry(key=key, name=key, description="", kind="sandbox", scopes=["x"]))
            await async_session.commit()
            act_as(async_session, user.id)

    run(add_entries())

    assert [(entry.entity_id, entry.user_id) for entry in entries(session)] == [
        ("one", None),
        ("two", user.id),
    ]


def test_audit_is_of_one_user(run: Run, async_session: AsyncSession, session: Session, user: User) -> None:
    """The audit is newest first, and can be narrowed to a type of entity."""
    act_as(async_session, user.id)
    for alias in ("A", "B"):
        run(providers.create_provider(async_session, user.id, "sandbox", alias))
    session.add(AuditEntry(user_id=None, action="provider.created", entity_type="provider", entity_id="x"))
    session.commit()

    page = run(audit.list_entries(async_session, user.id, entity_type="provider", window=Window(limit=1)))

    assert page.total == 2
    assert [entry.detail["alias"]["to"] for entry in page.items] == ["B"]


def test_test_session_is_not_audited(session: Session, user: User) -> None:
    """What a test itself puts into the database leaves no entry: only the service's sessions are audited."""
    user.name = "Changed"
    session.commit()

    assert entries(session) == []
