"""The fixtures.

A project may override each of them: none asks for another one that a project might override, but `client` for
`make_client`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from sqlalchemy import URL
from sqlalchemy.orm import Session

from greenroom.errors import GreenroomError
from greenroom.loop.entered import Entered, each
from greenroom.plugin.stash import worker_key
from greenroom.session_class import session_class
from greenroom.typing import DatabaseEngine, MakeClient, RoleEngine, Run

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.testclient import TestClient
    from starlette.types import ASGIApp

    from greenroom.worker import Worker

T = TypeVar("T")

DATABASE = "_greenroom_database"
"""The fixture behind all fixtures that use the database."""


@pytest.fixture(autouse=True)
def _greenroom_overrides(request: pytest.FixtureRequest) -> Iterator[None]:
    """Undo changes to `app.dependency_overrides` after each test, except those of fixtures with wider scopes."""
    with request.config.stash[worker_key].application.keeping_overrides():
        yield


@pytest.fixture(scope="session", name=DATABASE)
def _database(request: pytest.FixtureRequest) -> Worker:
    """This process's worker, with a database."""
    return _with_database(request)


@pytest.fixture(scope="session")
def database_url(_greenroom_database: Worker) -> str:
    """The URL of this test's database as the application sees it, such as `postgresql+asyncpg://…`."""
    return _greenroom_database.database.url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def sync_database_url(_greenroom_database: Worker) -> str:
    """The URL of this test's database for a synchronous engine: `postgresql+psycopg://…`."""
    return _greenroom_database.database.sync_url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def engine(_greenroom_database: Worker) -> Engine:
    """A synchronous engine to this test's database, as the application's role."""
    return _greenroom_database.engine


@pytest.fixture(scope="session")
def role_engine(_greenroom_database: Worker) -> RoleEngine:
    """Synchronous engines to this test's database as other roles of the configuration: `role_engine("reporting")`."""
    return _greenroom_database.engine_for


@pytest.fixture(scope="session")
def database_engine(_greenroom_database: Worker) -> DatabaseEngine:
    """Makes a synchronous engine to one of `[tool.greenroom.databases]`: `database_engine("stats")`."""

    def make(name: str) -> Engine:
        return _greenroom_database.engine_for(_greenroom_database.config.role, database=name)

    return make


@pytest.fixture
def scratch_database(_greenroom_database: Worker) -> Iterator[URL]:
    """The URL of an empty database, for tests of the migrations themselves: `postgresql+psycopg://…`."""
    with _greenroom_database.scratch() as url:
        yield url


@pytest.fixture
def session(_greenroom_database: Worker) -> Iterator[Session]:
    """A synchronous session on this test's database, of the class that the project's own factory makes.

    Its commits are real: the application sees what the test has committed, and the reverse. Lazy loading works. What is
    not committed at the end of the test is rolled back; what is, is rewound.
    """
    kind = session_class(Session, _greenroom_database.config.root)
    with kind(_greenroom_database.engine) as session:
        yield session


@pytest.fixture
def async_session(_greenroom_database: Worker) -> Iterator[AsyncSession]:
    """An asynchronous session, for services that take one: `run(service.create(async_session, …))`."""
    session = _greenroom_database.new_async_session()
    yield session
    _greenroom_database.run(session.close())


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on the application's event loop, wait for it, and return its result.

    `run.context` enters an asynchronous context manager there, `run.each` iterates over an asynchronous iterable.
    """
    return _Run(request)


class _Run:
    """What the fixture `run` is."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._worker = request.config.stash[worker_key]

    def __call__(self, awaitable: Awaitable[T], /) -> T:
        __tracebackhide__ = True
        self._open()
        return self._worker.run(awaitable)

    def context(
        self, manager: AbstractAsyncContextManager[T] | Callable[[], AbstractAsyncContextManager[T]], /
    ) -> AbstractContextManager[T]:
        self._open()
        return Entered(self._worker.loop, manager)

    def each(self, iterable: AsyncIterable[T], /) -> Iterator[T]:
        self._open()
        return each(self._worker.loop, iterable)

    def _open(self) -> None:
        __tracebackhide__ = True
        if self._worker.may_use_database:
            _with_database(self._request)


@pytest.fixture(scope="session")
def app(request: pytest.FixtureRequest, _greenroom_database: Worker) -> ASGIApp:
    """The application. Changes to `app.dependency_overrides` are undone after the test."""
    application: ASGIApp = _app(request, _greenroom_database)
    return application


@pytest.fixture(scope="session")
def _greenroom_lifespan(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shut the application down after the last test, while coverage is still measuring."""
    yield
    request.config.stash[worker_key].application.stop()


@pytest.fixture
def make_client(
    request: pytest.FixtureRequest, _greenroom_lifespan: None, _greenroom_database: Worker
) -> Iterator[MakeClient]:
    """Make more clients of the application, with other arguments for Starlette's `TestClient`.

    Such as `make_client(raise_server_exceptions=False)`, or one with the headers of another user. With `app=…`, it is a client of
    that application as it stands, also of the configured one, as with httpx's `ASGITransport`: its lifespan is the test's business.
    """
    from greenroom.loop.client import Client

    worker = _greenroom_database

    def make(*, app: ASGIApp | None = None, **options: Any) -> TestClient:
        own = _app(request, worker)
        if app is not None:
            return Client(app, worker.loop, worker.application.state_of(app), **options)
        state = worker.start_application()
        return Client(own, worker.loop, state, **({"base_url": worker.application.base_url} | options))

    yield make
    if worker.starts_for_each_test:
        worker.application.stop()


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """A client of the application: Starlette's `TestClient`, on the application's loop, with its lifespan started."""
    return make_client()


def _app(request: pytest.FixtureRequest, worker: Worker) -> Any:
    __tracebackhide__ = True
    return _or_end_the_run(request, lambda: worker.application.asgi, "the application cannot be imported")


def _with_database(request: pytest.FixtureRequest) -> Worker:
    __tracebackhide__ = True
    worker = request.config.stash[worker_key]
    _or_end_the_run(request, worker.database.open, "there is no database for the tests")
    return worker


def _or_end_the_run(request: pytest.FixtureRequest, action: Callable[[], T], why: str) -> T:
    """Return what the action returns. If it fails, fail the test and end the run: every other test would fail the same way."""
    __tracebackhide__ = True
    message = ""
    try:
        return action()
    except GreenroomError as error:
        message = str(error)
    request.session.shouldfail = f"greenroom: {why}"
    pytest.fail(f"greenroom: {message}", pytrace=False)
