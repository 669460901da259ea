"""The service of registration and login."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import errors
from app.models import User
from app.security import Security
from app.services import accounts
from tests.fixtures import Configure

PASSWORD = "correct horse battery staple"


@pytest.mark.asyncio
async def test_register(session: AsyncSession, service_session: AsyncSession, security: Security) -> None:
    """A registration is committed, with the address in lower case and the password as a hash."""
    user = await accounts.register(service_session, "Ada@Example.org", PASSWORD, "Ada")

    stored = await session.get_one(User, user.id)
    assert (stored.email, stored.name, stored.is_active) == ("ada@example.org", "Ada", True)
    assert stored.password_hash.startswith("$argon2id$")
    assert await security.verify_password(PASSWORD, stored.password_hash)


@pytest.mark.asyncio
async def test_registered_user_can_be_read_without_the_database(service_session: AsyncSession) -> None:
    """What the service returns is complete: no attribute of it needs a query, which could not be awaited."""
    user = await accounts.register(service_session, "ada@example.org", PASSWORD, "Ada")
    await service_session.close()

    assert user.id == 1
    assert user.created_at == user.updated_at
    assert user.last_login_at is None


@pytest.mark.asyncio
async def test_register_address_that_is_taken(
    session: AsyncSession, service_session: AsyncSession, user: User
) -> None:
    """A second registration raises a conflict; the session can be used after it."""
    with pytest.raises(errors.EmailTaken):
        await accounts.register(service_session, "ADA@example.org", PASSWORD, "Another")

    assert (await accounts.register(service_session, "grace@example.org", PASSWORD, "Grace")).name == "Grace"
    assert (await session.scalars(select(User.email).order_by(User.id))).all() == [
        "ada@example.org",
        "grace@example.org",
    ]


@pytest.mark.asyncio
async def test_other_violations_are_no_conflict(service_session: AsyncSession) -> None:
    """A constraint that the service does not know how to explain stays the error that it is."""
    with pytest.raises(IntegrityError, match='null value in column "name"'):
        await accounts.register(service_session, "ada@example.org", PASSWORD, None)


@pytest.mark.asyncio
async def test_authenticate(session: AsyncSession, service_session: AsyncSession) -> None:
    """The right password gives the user, and the login is noted."""
    registered = await accounts.register(service_session, "ada@example.org", PASSWORD, "Ada")

    user = await accounts.authenticate(service_session, "ADA@example.org", PASSWORD)

    assert user.id == registered.id
    assert (await session.get_one(User, user.id)).last_login_at == user.last_login_at is not None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("email", "password"),
    [("ada@example.org", "wrong"), ("nobody@example.org", PASSWORD), ("closed@example.org", PASSWORD)],
)
async def test_authenticate_in_vain(
    session: AsyncSession, service_session: AsyncSession, email: str, password: str
) -> None:
    """A wrong password, an unknown address and a closed account are one and the same error."""
    await accounts.register(service_session, "ada@example.org", PASSWORD, "Ada")
    (await accounts.register(service_session, "closed@example.org", PASSWORD, "Closed")).is_active = False
    await service_session.commit()

    with pytest.raises(errors.InvalidCredentials):
        await accounts.authenticate(service_session, email, password)

    assert (await session.scalars(select(User.last_login_at))).all() == [None, None]


@pytest.mark.asyncio
async def test_login_renews_a_hash_of_other_cost(
    session: AsyncSession, service_session: AsyncSession, reconfigure: Configure
) -> None:
    """When the cost parameters have changed, the next login hashes the password again, and it stays good."""
    user = await accounts.register(service_session, "ada@example.org", PASSWORD, "Ada")
    assert "t=1" in user.password_hash
    reconfigure(ARGON2_TIME_COST="2")

    for _ in range(2):
        await accounts.authenticate(service_session, "ada@example.org", PASSWORD)

    assert "t=2" in (await session.get_one(User, user.id)).password_hash


@pytest.mark.asyncio
async def test_get_user(session: AsyncSession, service_session: AsyncSession, user: User) -> None:
    """A user is found by id; not when the account is closed, and not when there is none."""
    assert (await accounts.get_user(service_session, user.id)).email == "ada@example.org"

    with pytest.raises(errors.InvalidAccessToken):
        await accounts.get_user(service_session, user.id + 1)
    user.is_active = False
    await session.commit()
    await service_session.close()
    with pytest.raises(errors.InvalidAccessToken):
        await accounts.get_user(service_session, user.id)
