"""Registration and login."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import security
from app.database import violated_constraint
from app.models import User
from app.problems import Conflict, Unauthorised


async def register(session: AsyncSession, email: str, password: str, name: str) -> User:
    """Make a user. The address is kept in lower case.

    Raises Conflict (email-taken).
    """
    user = User(email=email.lower(), name=name, password_hash=await security.hash_password(password))
    session.add(user)
    try:
        await session.commit()
    except IntegrityError as error:
        await session.rollback()
        if violated_constraint(error) == "uq_users_email":
            raise Conflict("email-taken", "Somebody is registered with this e-mail address.") from None
        raise
    return user


async def authenticate(session: AsyncSession, email: str, password: str) -> User:
    """The user with this address and password; notes the login.

    Raises Unauthorised (invalid-credentials): the same for a wrong password, an unknown address and a closed
    account.
    """
    user = await session.scalar(select(User).where(User.email == email.lower()))
    valid = await security.verify_password(password, user.password_hash if user else None)
    if user is None or not valid or not user.is_active:
        raise Unauthorised("invalid-credentials", "The e-mail address or the password is wrong.")
    if security.needs_rehash(user.password_hash):
        user.password_hash = await security.hash_password(password)
    user.last_login_at = datetime.now(UTC)
    await session.commit()
    return user


async def get_user(session: AsyncSession, user_id: int) -> User:
    """The user with this id.

    Raises Unauthorised (invalid-token) for one that does not exist or whose account is closed.
    """
    user = await session.get(User, user_id)
    if user is None or not user.is_active:
        raise Unauthorised("invalid-token", "This access token's account is closed.", error="invalid_token")
    return user
