"""GET /health/live and /health/ready, and the service without its database."""

import time
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import URL, Engine, NullPool, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.testclient import TestClient

from app.api import health
from app.resources import Resources
from greenroom.typing import RecordQueries, Run
from tests.api.helpers import assert_problem, ok


@pytest.fixture
def elsewhere(scratch_database: URL) -> Engine:
    """An engine to another database of the same server and role: from within, one cannot be shut."""
    return create_engine(scratch_database, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def end_connections(elsewhere: Engine, engine: Engine) -> int:
    """End all connections of the application's role to its database. Returns how many there were."""
    engine.dispose()  # the test's own
    with elsewhere.connect() as connection:
        ended = connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = :name AND usename = current_user"
            ),
            {"name": engine.url.database},
        )
        return len(ended.all())


@pytest.fixture
def database_down(client: TestClient, elsewhere: Engine, engine: Engine) -> Iterator[None]:
    """The service's database has ended its connections and accepts none, until the test is over."""

    def accept(connections: bool) -> None:
        with elsewhere.connect() as connection:
            connection.execute(
                text(f'ALTER DATABASE "{engine.url.database}" ALLOW_CONNECTIONS {connections}')
            )

    ok(client.get("/health/ready"))
    accept(False)
    try:
        assert end_connections(elsewhere, engine)
        yield
    finally:
        accept(True)


def test_ready(client: TestClient) -> None:
    """With its database the service is ready."""
    assert ok(client.get("/health/ready")) == {"status": "ready", "database": "ok"}


def test_live(client: TestClient, queries: RecordQueries) -> None:
    """Whether the process is alive is answered without a question to the database."""
    with queries() as sent:
        assert ok(client.get("/health/live")) == {"status": "alive"}

    assert sent.statements == []


def test_live_without_database(client: TestClient, database_down: None) -> None:
    """Without its database the process is as alive as before: a new one would have no database either."""
    assert ok(client.get("/health/live")) == {"status": "alive"}


def test_ready_without_database(
    client: TestClient, database_down: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Without its database the service answers 503, and logs the kind of error."""
    document = assert_problem(client.get("/health/ready"), 503, "database-unavailable")

    assert document["detail"] == "The database does not answer."
    (record,) = [record for record in caplog.records if record.name == "app.api.health"]
    assert record.levelname == "WARNING"
    assert "greenroom" not in record.getMessage()


def test_request_without_database(make_client: Callable[..., TestClient], database_down: None) -> None:
    """Whatever needs the database is answered with a 500 that tells nothing about it."""
    client = make_client(raise_server_exceptions=False)

    response = client.post("/api/v1/auth/login", json={"email": "ada@example.org", "password": "x"})

    document = assert_problem(response, 500, None)
    assert document["detail"] == "Something went wrong here; it has been logged."


def test_service_recovers_with_its_database(client: TestClient, elsewhere: Engine, engine: Engine) -> None:
    """When the database has ended the pooled connections, the next request connects again."""
    ok(client.get("/health/ready"))
    assert end_connections(elsewhere, engine)

    ok(client.get("/health/ready"))


@pytest.fixture
def exhausted_pool(app: FastAPI, client: TestClient, run: Run) -> Iterator[None]:
    """All connections that the service may have are in use, until the test is over."""

    async def take_all(engine: AsyncEngine) -> list[AsyncConnection]:
        size = engine.pool.size() + engine.pool._max_overflow  # type: ignore[attr-defined]
        return [await engine.connect() for _ in range(size)]

    async def give_back(connections: list[AsyncConnection]) -> None:
        for connection in connections:
            await connection.close()

    resources: Resources = app.state.resources
    connections = run(take_all(resources.engine))
    yield
    run(give_back(connections))
    ok(client.get("/health/ready"))


def test_ready_with_an_exhausted_pool(
    client: TestClient, exhausted_pool: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no connection is free in time, the service is not ready either."""
    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    before = time.monotonic()

    assert_problem(client.get("/health/ready"), 503, "database-unavailable")

    assert time.monotonic() - before < 10  # the pool itself would wait for 30 s


def test_request_with_an_exhausted_pool(
    app: FastAPI, client: TestClient, exhausted_pool: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a connection in vain is told to come again: nothing is wrong, there is only too much of it."""
    monkeypatch.setattr(app.state.resources.engine.sync_engine.pool, "_timeout", 0.05)

    response = client.post("/api/v1/auth/login", json={"email": "ada@example.org", "password": "x"})

    assert_problem(response, 503, "overloaded")
    assert response.headers["Retry-After"] == "2"
