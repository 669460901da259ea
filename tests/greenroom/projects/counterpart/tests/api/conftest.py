"""Fixtures of the API tests: users, and providers of theirs, made over HTTP."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

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
async def sign_up() -> AsyncIterator[helpers.SignUp]:
    """Register a user under an address and log in; the client sends the access token and has its own cookies."""
    async with AsyncExitStack() as stack:

        async def sign_up(email: str) -> AsyncClient:
            client = await stack.enter_async_context(
                AsyncClient(transport=ASGITransport(app=app), base_url="http://testserver")
            )
            await helpers.register(client, email)
            client.headers["Authorization"] = f"Bearer {await helpers.log_in(client, email)}"
            return client

        yield sign_up


@pytest_asyncio.fixture
async def user(sign_up: helpers.SignUp) -> AsyncClient:
    """A client of a user, Ada."""
    return await sign_up("ada@example.org")


@pytest_asyncio.fixture
async def other_user(sign_up: helpers.SignUp) -> AsyncClient:
    """A client of another user, Grace."""
    return await sign_up("grace@example.org")


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
