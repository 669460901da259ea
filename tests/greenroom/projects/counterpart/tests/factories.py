"""Rows for tests that need something to be there, made in the test's own session."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from app.main import app
from app.models import Connection, ConnectionStatus, Provider, Token, User


async def make_user(session: AsyncSession, email: str = "ada@example.org") -> User:
    """A user who cannot log in: the password's hash is none."""
    user = User(email=email, name="Ada", password_hash="none")
    session.add(user)
    await session.commit()
    return user


async def make_provider(
    session: AsyncSession, user: User, *, key: str = "sandbox", alias: str = "Everyday"
) -> Provider:
    """A provider that was never authorised."""
    provider = Provider(user_id=user.id, key=key, alias=alias, connection=Connection())
    session.add(provider)
    await session.commit()
    return provider


async def connect(session: AsyncSession, provider: Provider, **changes: Any) -> Token:
    """The token of a provider that was authorised just now: one that the sandbox accepts, or another."""
    if provider.key == "sandbox":
        claims = {"grant": str(uuid4()), "scope": "accounts"}
        sandbox = app.state.resources.sandbox
        tokens = {f"{kind}_token": sandbox._issue(kind, 60, **claims) for kind in ("access", "refresh")}
    else:
        tokens = {"access_token": "access-1", "refresh_token": "refresh-1"}
    expires_at = datetime.now(UTC) + timedelta(minutes=30)
    token = Token(**{"scopes": ["accounts"], "expires_at": expires_at} | tokens | changes)
    await session.refresh(provider, ["connection"])
    await session.refresh(provider.connection, ["token"])
    provider.connection.token = token
    provider.connection.status = ConnectionStatus.ACTIVE
    await session.commit()
    return token
