"""What greenroom uses of other libraries' private parts is there, in one folder only, and does what it is used for.

With a new version of a library, the test that fails here names the module to look at.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, exc
from sqlalchemy.engine import create
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

import greenroom
from greenroom.private import alembic, coverage, sqlalchemy, starlette
from tests.greenroom.conftest import Project

PACKAGE = Path(greenroom.__file__).parent

PRIVATE = re.compile(
    r"^from _pytest|^\s*from \S+ import .*\b_[A-Z]\w+|_ConnectionRecord__|\b_portal_factory\b|\._transport\b"
    r"|\._dialect\b|_retrieve_proxy|_proxy_objects|coverage\.results|MigrationStep",
    re.MULTILINE,
)


def test_one_folder() -> None:
    """Nothing else in greenroom uses what is private to SQLAlchemy, Starlette, pytest, coverage or Alembic."""
    found = {
        str(path.relative_to(PACKAGE)): match[0].strip()
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "private" and (match := PRIVATE.search(path.read_text()))
    }
    assert found == {}


def test_pool() -> None:
    """A pool's entry knows its pool, the pool its dialect; both classes have what is replaced in them."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        fairy = connection.connection
        assert isinstance(fairy, sqlalchemy.ConnectionFairy)
        record = fairy._connection_record
        assert isinstance(record, sqlalchemy.ConnectionRecord)
        assert sqlalchemy.pool_of(record) is engine.pool
    assert sqlalchemy.dialect_of(engine.pool) is engine.dialect
    assert callable(sqlalchemy.ConnectionRecord.get_connection)
    assert isinstance(inspect.getattr_static(sqlalchemy.ConnectionFairy, "driver_connection"), property)


def test_front() -> None:
    """Engines and sessions of asynchronous ones are told from synchronous ones, also with the same driver, and listed."""
    url = "postgresql+asyncpg://nobody@localhost/nothing"
    assert sqlalchemy.has_front(create_async_engine(url).sync_engine)
    assert not sqlalchemy.has_front(create_engine(url))
    session, asynchronous = Session(), AsyncSession()
    assert sqlalchemy.has_front(asynchronous.sync_session)
    assert not sqlalchemy.has_front(session)
    assert {session, asynchronous.sync_session} <= set(sqlalchemy.sessions())
    engine = create_async_engine(url)
    derived = engine.execution_options(isolation_level="AUTOCOMMIT")
    assert {engine.sync_engine, derived.sync_engine} <= set(sqlalchemy.engines_with_front())


def test_sessions_while_others_are_made() -> None:
    """The sessions are listed while another thread makes some, as an application does that works in the background."""
    over = threading.Event()

    def make() -> None:
        kept: deque[Session] = deque(maxlen=200)
        while not over.is_set():
            kept.append(Session())

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=make)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _attempt in range(500):
            sqlalchemy.sessions()
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_greenlet(project: Project) -> None:
    """SQLAlchemy's greenlets are told from other code."""
    assert not sqlalchemy.in_greenlet()
    project.passes(
        """
        from greenroom.private.sqlalchemy import in_greenlet

        def test_it(run, async_session):
            async def look():
                return in_greenlet(), await async_session.run_sync(lambda _session: in_greenlet())
            assert run(look()) == (False, True)
        """
    )


def test_hidden_frame(project: Project) -> None:
    """The frame that connects is SQLAlchemy's `connect` in engine/create.py; a refusal hides it, with the password."""
    source = inspect.getsource(create)
    assert "def connect(" in source
    assert "do_connect" in source
    project.write(
        "tests/test_it.py",
        """
        from sqlalchemy import create_engine

        def test_it(sync_database_url):
            create_engine("postgresql+psycopg://me:hunter2@localhost:1/elsewhere").connect()
        """,
    )
    shown = project.pytest("tests/test_it.py", "--showlocals", "--tb=long").stdout.str()
    assert "RefusedError" in shown
    assert "cparams" not in shown


def test_client() -> None:
    """Each part of `TestClient` that is patched is there, is replaced, and comes back."""

    async def app(scope: object, receive: object, send: object) -> None:
        """An application that nobody calls."""

    assert callable(starlette.stock_portal)
    client = TestClient(app)
    assert isinstance(client._transport, starlette.Transport)
    assert client._transport.portal_factory == client._portal_factory
    assert len(starlette.client_of(client._transport)) == 2
    before = dict(vars(TestClient))

    def own(self: TestClient, *_: object, **__: object) -> str:
        return "own"

    undo_portals = starlette.patch_portals(own)
    undo = starlette.patch(portal=own, enter=own, send=own)
    answers: list[object] = [client._portal_factory(), client.__enter__(), TestClient.send(client, None)]  # type: ignore[arg-type]
    assert [*answers, client._transport.portal_factory()] == ["own"] * 4
    chosen: Any = lambda: "set later"  # noqa: E731
    client._transport.portal_factory = chosen
    assert client._transport.portal_factory is chosen
    undo()
    undo_portals()
    later = TestClient(app)
    assert isinstance(later._transport, starlette.Transport)
    assert later._transport.portal_factory == later._portal_factory
    assert dict(vars(TestClient)) == before


def test_section(project: Project) -> None:
    """A section that is added to a failure is part of what pytest prints of it, and of JUnit's file."""
    project.write("conftest.py", """
        import pytest
        from greenroom.private.pytest import add_section

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport():
            report = yield
            if report.failed:
                add_section(report, "why", "because of this")
            return report
    """)  # fmt: skip
    project.write("tests/test_it.py", "def test_it(): assert False\n")
    result = project.pytest("tests/test_it.py", "--show-capture=no", "--junitxml=junit.xml")
    result.stdout.fnmatch_lines(["*- why -*", "because of this"])
    assert "because of this" in (project.root / "junit.xml").read_text()


@pytest.mark.parametrize(
    ("percentage", "threshold", "fails"), [(99.99, 100, True), (100, 100, False), (89.9, 90, False)]
)
def test_coverage(percentage: float, threshold: float, fails: bool) -> None:
    """Coverage's own rule: 100 is never rounded up to, and otherwise the project's precision counts."""
    assert coverage.fails_under(percentage, threshold) is fails


def test_engine_events() -> None:
    """The events that are listened to are there."""

    def listener(*_: object) -> None:
        """Listen."""

    for name in ("do_connect", "before_cursor_execute"):
        event.listen(Engine, name, listener)
        event.remove(Engine, name, listener)


def test_steps(tmp_path: Path) -> None:
    """A revision's steps call what stands around its functions, and know what version they lead to."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions/one.py").write_text(
        "revision, down_revision = 'one', None\ndef upgrade(): return 'up'\ndef downgrade(): return 'down'\n"
    )
    script = ScriptDirectory(str(tmp_path))
    up, down = (
        alembic.step(script, "one", up=up, around=lambda function: lambda: f"{function()}!")
        for up in (True, False)
    )
    assert (up.migration_fn(), down.migration_fn()) == ("up!", "down!")
    assert (up.to_revisions, down.to_revisions) == (("one",), ())


def test_errors_of_sqlalchemy() -> None:
    """SQLAlchemy's errors are told of when they are made, those that are asked for, until that is undone."""
    told: list[BaseException] = []
    # This run has its own.
    before = vars(exc.SQLAlchemyError).get("__init__")
    undo = sqlalchemy.watch_errors(frozenset({"MissingGreenlet", "DBAPIError"}), told.append)
    try:
        made = [exc.MissingGreenlet("a"), exc.NoResultFound("b"), exc.DBAPIError("c", None, ValueError())]
    finally:
        undo()
    exc.MissingGreenlet("d")
    assert told == [made[0], made[2]]
    assert str(made[0]).startswith("a ")
    assert vars(exc.SQLAlchemyError).get("__init__") is before


def test_handlers_of_starlette() -> None:
    """Each error of an endpoint is told of, with the handler that there is for it, until that is undone."""
    told: list[tuple[str, bool]] = []

    def fails(request: Request) -> Response:
        raise (KeyError if request.url.path == "/key" else LookupError)

    def handle(_request: Request, _error: Exception) -> Response:
        return Response(status_code=418)

    app = Starlette(routes=[Route("/{name}", fails)], exception_handlers={KeyError: handle})
    client = TestClient(app, raise_server_exceptions=False)
    undo = starlette.watch_handlers(
        lambda error, handler: told.append((type(error).__name__, handler is handle))
    )
    try:
        assert client.get("/key").status_code == 418
        assert client.get("/other").status_code == 500
    finally:
        undo()
    client.get("/key")
    # Its own middleware looks once more for one that no endpoint's had.
    assert told[0] == ("KeyError", True)
    assert set(told[1:]) == {("LookupError", False)}
