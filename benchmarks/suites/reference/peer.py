"""The fixtures of the reference suite's API tests, as the other ways to test provide them. A pytest plugin.

BENCH_PEER says which: `testclient` enters a TestClient for each, with a NullPool, and empties all tables; `wrapper` replaces
the application's session by a synchronous one in an outer transaction. With neither of them are the rows of a fixture of
wider scope still there in the next test, so the suite's fixtures are all made for each test.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import alembic.command
import alembic.config
import pytest
import sqlalchemy
import sqlalchemy.ext.asyncio
from sqlalchemy import Connection, Engine, MetaData, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

PEER = os.environ["BENCH_PEER"]

if PEER == "testclient":
    # Each client has a loop of its own, and none may find another one's connections in a pool.
    sqlalchemy.ext.asyncio.create_async_engine = partial(
        sqlalchemy.ext.asyncio.create_async_engine, poolclass=sqlalchemy.NullPool
    )


class AsyncToSync:
    """A synchronous session in the place of an AsyncSession: what is awaited there is a coroutine function here."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._session, name)
        if not inspect.iscoroutinefunction(getattr(AsyncSession, name, None)):
            return attribute

        async def awaited(*arguments: Any, **options: Any) -> Any:
            return attribute(*arguments, **options)

        return awaited


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The migrated database."""
    engine = create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    config = alembic.config.Config(toml_file=os.environ["BENCH_ALEMBIC"])
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "heads")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def seeds(engine: Engine) -> tuple[MetaData, dict[str, list[dict[str, Any]]]]:
    """All tables, and the rows that the migrations have put there."""
    metadata = MetaData()
    metadata.reflect(engine)
    metadata.remove(metadata.tables["alembic_version"])
    with engine.connect() as connection:
        return metadata, {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in metadata.sorted_tables
        }


@pytest.fixture
def outer(engine: Engine, seeds: tuple[MetaData, dict[str, Any]]) -> Iterator[Connection | Engine]:
    """What sessions are bound to, and the reset afterwards."""
    if PEER == "wrapper":
        with engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()
        return
    yield engine
    metadata, rows = seeds
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        for table in metadata.sorted_tables:
            if rows[table.name]:
                connection.execute(table.insert(), rows[table.name])


@pytest.fixture
def session(outer: Connection | Engine) -> Iterator[Session]:
    """The test's session."""
    with Session(outer, join_transaction_mode="create_savepoint") as session:
        yield session


@pytest.fixture
def app(outer: Connection | Engine) -> Iterator[Any]:
    """The application, with its session replaced where that is the way."""
    from app.api.dependencies import get_session
    from app.audit import AuditedSession
    from app.main import app

    async def replaced() -> Any:
        options = {
            name: app.state.resources.session_factory.kw[name] for name in ("expire_on_commit", "info")
        }
        with AuditedSession(outer, join_transaction_mode="create_savepoint", **options) as session:
            yield AsyncToSync(session)

    if PEER == "wrapper":
        app.dependency_overrides[get_session] = replaced
    yield app
    app.dependency_overrides.clear()


@pytest.fixture
def make_client(app: Any) -> Iterator[Callable[..., TestClient]]:
    """More clients, each entered."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(TestClient(app, **options))


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    """A client."""
    return make_client()


def _for_each_test(*arguments: Any, _fixture: Callable[..., Any] = pytest.fixture, **options: Any) -> Any:
    return _fixture(*arguments, **options | {"scope": "function"})


pytest.fixture = _for_each_test
