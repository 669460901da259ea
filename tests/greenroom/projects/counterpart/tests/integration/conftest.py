"""Fixtures of the integration tests: rows to begin with, made in the test's session."""

import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import Provider, User
from tests import factories


@pytest_asyncio.fixture
async def user(session: AsyncSession) -> User:
    """A user, Ada."""
    return await factories.make_user(session)


@pytest_asyncio.fixture
async def provider(session: AsyncSession, user: User) -> Provider:
    """A provider of Ada's, the sandbox, that was never authorised."""
    return await factories.make_provider(session, user)
