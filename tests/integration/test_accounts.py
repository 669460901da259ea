"""The service of registration and login."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app import errors
from app.models import User
from app.security import Security
from app.services import accounts
from greenroom.typing import Run
from tests.fixtures import Configure

PASSWORD = "correct horse battery staple"


def test_register(run: Run, async_session: AsyncSession, session: Session, security: Security) -> None:
    """A registration is committed, with the address in lower case and the password as a hash."""
    user = run(accounts.register(async_session, "Ada@Example.org", PASSWORD, "Ada"))

    stored = session.get_one(User, user.id)
    assert (stored.email, stored.name, stored.is_active) == ("ada@example.org", "Ada", True)
    assert stored.password_hash.startswith("$argon2id$")
    assert run(security.verify_password(PASSWORD, stored.password_hash))


def test_registered_user_can_be_read_without_the_database(run: Run, async_session: AsyncSession) -> None:
    """What the service returns is complete: no attribute of it needs a query, which could not be awaited."""
    user = run(accounts.register(async_session, "ada@example.org", PASSWORD, "Ada"))
    run(async_session.close())

    assert user.id == 1
    assert user.created_at == user.updated_at
    assert user.last_login_at is None


def test_register_address_that_is_taken(
    run: Run, async_session: AsyncSession, session: Session, user: User
) -> None:
    """A second registration raises a conflict; the session can be used after it."""
    with pytest.raises(errors.EmailTaken):
        run(accounts.register(async_session, "ADA@example.org", PASSWORD, "Another"))

    assert run(accounts.register(async_session, "grace@example.org", PASSWORD, "Grace")).name == "Grace"
    assert session.scalars(select(User.email).order_by(User.id)).all() == [
        "ada@example.org",
        "grace@example.org",
    ]


def test_other_violations_are_no_conflict(run: Run, async_session: AsyncSession) -> None:
    """A constraint that the service does not know how to explain stays the error that it is."""
    with pytest.raises(IntegrityError, match='null value in column "name"'):
        run(accounts.register(async_session, "ada@example.org", PASSWORD, None))  # type: ignore[arg-type]


def test_authenticate(run: Run, async_session: AsyncSession, session: Session) -> None:
    """The right password gives the user, and the login is noted."""
    registered = run(accounts.register(async_session, "ada@example.org", PASSWORD, "Ada"))

    user = run(accounts.authenticate(async_session, "ADA@example.org", PASSWORD))

    assert user.id == registered.id
    assert session.get_one(User, user.id).last_login_at == user.last_login_at is not None


@pytest.mark.parametrize(
    ("email", "password"),
    [("ada@example.org", "wrong"), ("nobody@example.org", PASSWORD), ("closed@example.org", PASSWORD)],
)
def test_authenticate_in_vain(
    run: Run, async_session: AsyncSession, session: Session, email: str, password: str
) -> None:
    """A wrong password, an unknown address and a closed account are one and the same error."""
    run(accounts.register(async_session, "ada@example.org", PASSWORD, "Ada"))
    run(accounts.register(async_session, "closed@example.org", PASSWORD, "Closed")).is_active = False
    run(async_session.commit())

    with pytest.raises(errors.InvalidCredentials):
        run(accounts.authenticate(async_session, email, password))

    assert session.scalars(select(User.last_login_at)).all() == [None, None]


def test_login_renews_a_hash_of_other_cost(
    run: Run, async_session: AsyncSession, session: Session, reconfigure: Configure
) -> None:
    """When the cost parameters have changed, the next login hashes the password again, and it stays good."""
    user = run(accounts.register(async_session, "ada@example.org", PASSWORD, "Ada"))
    assert "t=1" in user.password_hash
    reconfigure(ARGON2_TIME_COST="2")

    for _ in range(2):
        run(accounts.authenticate(async_session, "ada@example.org", PASSWORD))

    assert "t=2" in session.get_one(User, user.id).password_hash


def test_get_user(run: Run, async_session: AsyncSession, session: Session, user: User) -> None:
    """A user is found by id; not when the account is closed, and not when there is none."""
    assert run(accounts.get_user(async_session, user.id)).email == "ada@example.org"

    with pytest.raises(errors.InvalidAccessToken):
        run(accounts.get_user(async_session, user.id + 1))
    user.is_active = False
    session.commit()
    run(async_session.close())
    with pytest.raises(errors.InvalidAccessToken):
        run(accounts.get_user(async_session, user.id))
