"""Registration and login."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import errors
from app.database import violated_constraint
from app.emails import normalised
from app.models import User
from app.resources import Resources


async def register(session: AsyncSession, email: str, password: str, name: str) -> User:
    """Make a user. The address is kept in its one form.

    Raises EmailTaken, Overloaded, TooManyAttempts.
    """
    resources, email = Resources.of(session), normalised(email)
    resources.attempts.count_account(email)
    password_hash = await resources.security.hash_password(password)
    user = User(email=email, name=name, password_hash=password_hash)
    session.add(user)
    try:
        await session.commit()
    except IntegrityError as error:
        await session.rollback()
        if violated_constraint(error) == "uq_users_email":
            raise errors.EmailTaken("Somebody is registered with this e-mail address.") from None
        raise
    return user


async def authenticate(session: AsyncSession, email: str, password: str) -> User:
    """The user with this address and password; notes the login.

    Raises Overloaded, TooManyAttempts, and InvalidCredentials: the same for a wrong password, an unknown address and a
    closed account.
    """
    resources, email = Resources.of(session), normalised(email)
    security = resources.security
    resources.attempts.count_account(email)
    user = await session.scalar(select(User).where(User.email == email))
    await session.commit()  # whoever waits for a turn to hash keeps no connection from others meanwhile
    valid = await security.verify_password(password, user.password_hash if user else None)
    if user is None or not valid or not user.is_active:
        raise errors.InvalidCredentials("The e-mail address or the password is wrong.")
    resources.attempts.succeeded(email)
    if security.needs_rehash(user.password_hash):
        user.password_hash = await security.hash_password(password)
    user.last_login_at = datetime.now(UTC)
    await session.commit()
    return user


async def get_user(session: AsyncSession, user_id: int) -> User:
    """The user with this id.

    Raises InvalidAccessToken for one that does not exist or whose account is closed.
    """
    user = await session.get(User, user_id)
    if user is None or not user.is_active:
        raise errors.InvalidAccessToken("This access token's account is closed.")
    return user
