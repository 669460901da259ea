"""Fixtures of the API tests: users, and providers of theirs, made over HTTP."""

from collections.abc import AsyncIterator

import pytest_asyncio
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.main import app
from app.models import Provider
from tests.api import helpers
from tests.factories import connect


@pytest_asyncio.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """A client of the application."""
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://testserver") as client:
        yield client


@pytest_asyncio.fixture
async def user() -> AsyncIterator[AsyncClient]:
    """A client of a user, Ada, with cookies of its own."""
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://testserver") as client:
        await helpers.sign_up(client, "ada@example.org")
        yield client


@pytest_asyncio.fixture
async def other_user() -> AsyncIterator[AsyncClient]:
    """A client of another user, Grace."""
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://testserver") as client:
        await helpers.sign_up(client, "grace@example.org")
        yield client


@pytest_asyncio.fixture
async def provider(user: AsyncClient) -> str:
    """The path of a provider of Ada's, the sandbox, that was never authorised."""
    return await helpers.add_provider(user)


@pytest_asyncio.fixture
async def connected(provider: str, session: AsyncSession) -> str:
    """The path of a provider of Ada's, the sandbox, that is authorised."""
    await connect(session, (await session.scalars(select(Provider))).one())
    return provider


@pytest_asyncio.fixture
async def connected_schwab(user: AsyncClient, schwab: object, session: AsyncSession) -> str:
    """The path of a provider of Ada's at the outside provider, that is authorised."""
    path = await helpers.add_provider(user, key="schwab", alias="Broker")
    await connect(session, (await session.scalars(select(Provider).where(Provider.key == "schwab"))).one())
    return path
