"""The fixtures.

A project may override each of them: none asks for another one that a project might override, but `client` for
`make_client`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from sqlalchemy import URL
from sqlalchemy.orm import Session

from greenroom.errors import GreenroomError
from greenroom.plugin.keys import stage_key
from greenroom.typing import MakeClient, Run

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.testclient import TestClient
    from starlette.types import ASGIApp

    from greenroom.stage import Stage

T = TypeVar("T")

DATABASE = "_greenroom_database"
"""The fixture behind all that use the database."""


@pytest.fixture(autouse=True)
def _greenroom_overrides(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put `app.dependency_overrides` back after each test, but for what fixtures of wider scopes did to them."""
    with request.config.stash[stage_key].application.keeping_overrides():
        yield


@pytest.fixture(scope="session", name=DATABASE)
def _database(request: pytest.FixtureRequest) -> Stage:
    """This process's stage, with a database."""
    return _with_database(request)


@pytest.fixture(scope="session")
def database_url(_greenroom_database: Stage) -> str:
    """The URL of this test's database as the application has it, such as `postgresql+asyncpg://…`."""
    return _greenroom_database.app_url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def sync_database_url(_greenroom_database: Stage) -> str:
    """The URL of this test's database for a synchronous engine: `postgresql+psycopg://…`."""
    return _greenroom_database.sync_url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def engine(_greenroom_database: Stage) -> Engine:
    """A synchronous engine to this test's database, as the application's role."""
    return _greenroom_database.engine


@pytest.fixture
def scratch_database(_greenroom_database: Stage) -> Iterator[URL]:
    """The URL of an empty database, for tests of the migrations themselves: `postgresql+psycopg://…`."""
    with _greenroom_database.scratch() as url:
        yield url


@pytest.fixture
def session(_greenroom_database: Stage) -> Iterator[Session]:
    """A synchronous session on this test's database.

    Its commits are real: the application sees what the test has committed, and the reverse. Lazy loading works. What is
    not committed at the end of the test is rolled back; what is, is rewound.
    """
    with Session(_greenroom_database.engine) as session:
        yield session


@pytest.fixture
def async_session(_greenroom_database: Stage) -> Iterator[AsyncSession]:
    """An asynchronous session, for services that take one: `run(service.create(async_session, …))`."""
    session = _greenroom_database.new_async_session()
    yield session
    _greenroom_database.run(session.close())


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on the application's event loop, wait for it, and return its result."""
    stage = request.config.stash[stage_key]

    def run(coroutine: Coroutine[Any, Any, T], /) -> T:
        __tracebackhide__ = True
        if stage.may_use_database:
            _with_database(request)
        return stage.run(coroutine)

    return run


@pytest.fixture(scope="session")
def app(request: pytest.FixtureRequest, _greenroom_database: Stage) -> ASGIApp:
    """The application. `app.dependency_overrides` are put back after the test."""
    application: ASGIApp = _app(request, _greenroom_database)
    return application


@pytest.fixture(scope="session")
def _greenroom_lifespan(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shut the application down after the last test, while coverage still counts."""
    yield
    request.config.stash[stage_key].application.stop()


@pytest.fixture
def make_client(
    request: pytest.FixtureRequest, _greenroom_lifespan: None, _greenroom_database: Stage
) -> Iterator[MakeClient]:
    """Make more clients of the application, with other arguments for Starlette's `TestClient`.

    Such as `make_client(raise_server_exceptions=False)`, or one with the headers of another user.
    """
    from greenroom.loop.client import Client

    stage = _greenroom_database
    app = _app(request, stage)
    state = stage.start_application()
    yield lambda **options: Client(app, stage.loop, state, **options)
    if stage.starts_for_each_test:
        stage.application.stop()


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """A client of the application: Starlette's `TestClient`, on the application's loop, with its lifespan open."""
    return make_client()


def _app(request: pytest.FixtureRequest, stage: Stage) -> Any:
    __tracebackhide__ = True
    return _or_end_the_run(request, lambda: stage.application.asgi, "the application cannot be imported")


def _with_database(request: pytest.FixtureRequest) -> Stage:
    __tracebackhide__ = True
    stage = request.config.stash[stage_key]
    _or_end_the_run(request, stage.open, "there is no database for the tests")
    return stage


def _or_end_the_run(request: pytest.FixtureRequest, action: Callable[[], T], why: str) -> T:
    """What the action returns. If it fails, so does the test, and the run ends: every other test would say the same."""
    __tracebackhide__ = True
    message = ""
    try:
        return action()
    except GreenroomError as error:
        message = str(error)
    request.session.shouldfail = f"greenroom: {why}"
    pytest.fail(f"greenroom: {message}", pytrace=False)
