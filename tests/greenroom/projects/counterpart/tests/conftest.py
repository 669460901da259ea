"""One loop and one engine for the whole session. What a test commits is removed after it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import delete, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.main import app, session_factory
from app.models import CatalogueEntry
from tests.fixtures import (
    OutsideProvider,
    configure,
    no_attempts_yet,
    outside,
    reconfigure,
    security,
)

__all__ = ["configure", "no_attempts_yet", "outside", "reconfigure", "security"]

SEEDS = ["chase", "fidelity", "plaid", "sandbox", "schwab"]
"""What the migrations put into the catalogue."""


@pytest_asyncio.fixture(scope="session", autouse=True)
async def engine() -> AsyncIterator[AsyncEngine]:
    """The application's engine, whose connections are closed on the loop that opened them."""
    engine = app.state.resources.engine
    yield engine
    await engine.dispose()


@pytest_asyncio.fixture(autouse=True)
async def clean_tables(engine: AsyncEngine) -> AsyncIterator[None]:
    """Remove all rows but the migrations' own after each test."""
    yield
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE users, audit_entries RESTART IDENTITY CASCADE"))
        await connection.execute(delete(CatalogueEntry).where(CatalogueEntry.key.not_in(SEEDS)))


@pytest_asyncio.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """The test's own session: for the rows that it begins with, and for what it checks."""
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest_asyncio.fixture
async def service_session() -> AsyncIterator[AsyncSession]:
    """A session as the application makes them, for a service that the test calls itself."""
    async with session_factory() as session:
        yield session


Statements = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def statements(engine: AsyncEngine) -> Statements:
    """Record the SQL that is sent in a block."""

    @contextmanager
    def statements() -> Iterator[list[str]]:
        sent: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            sent.append(statement)

        event.listen(engine.sync_engine, "before_cursor_execute", note)
        yield sent
        event.remove(engine.sync_engine, "before_cursor_execute", note)

    return statements


@pytest_asyncio.fixture
async def schwab(session: AsyncSession, outside: OutsideProvider) -> AsyncIterator[OutsideProvider]:
    """The outside provider, where the catalogue says that Schwab is."""
    entry = await session.get_one(CatalogueEntry, "schwab")
    before = {name: getattr(entry, name) for name in outside.endpoints}
    for name, url in outside.endpoints.items():
        setattr(entry, name, url)
    await session.commit()
    yield outside
    for name, url in before.items():
        setattr(entry, name, url)
    await session.commit()
