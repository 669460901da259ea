"""The fixtures, as a project uses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.config import load
from tests.greenroom.conftest import Project


def test_commits_are_seen_from_both_sides(project: Project) -> None:
    """What the test commits the application sees, and the reverse; lazy loading works in the test."""
    project.passes("""
        from shop.models import Country, Customer, Order

        def test_from_the_test_to_the_application(client, session):
            session.add(Customer(name="Ada", country_code="CH"))
            session.commit()
            assert client.get("/customers").json() == ["Ada"]

        def test_from_the_application_to_the_test(client, session):
            assert client.post("/customers/Ada").json() == {"id": 1}
            customer = session.query(Customer).one()
            session.add(Order(customer=customer))
            session.commit()
            assert customer.orders[0].customer is customer
        """)


def test_services_are_called_with_run(project: Project) -> None:
    """`run` runs a coroutine on the application's loop; `async_session` is a session there."""
    project.passes("""
        import asyncio, pytest
        from shop.main import app, create, engine, new_session
        from shop.models import Customer

        def test_service(run, async_session, session):
            customer = run(create(async_session, "Ada"))
            assert customer.name == "Ada"
            assert session.get(Customer, customer.id).name == "Ada"

        def test_the_applications_own_sessions(run, client, session):
            async def both():
                async with new_session() as one:
                    await create(one, "Bo")
                return id(asyncio.get_running_loop())
            assert run(both()) == client.get("/loop").json()["loop"]
            assert session.query(Customer).count() == 1

        def test_exception_comes_as_it_is(run):
            async def broken():
                await asyncio.sleep(0)
                raise LookupError("as it is")
            with pytest.raises(LookupError, match="as it is") as caught:
                run(broken())
            assert caught.traceback[-1].name == "broken"

        def test_what_is_no_coroutine(run):
            with pytest.raises(TypeError, match="takes a coroutine"):
                run(lambda: 1)

        def test_within_the_loop(run):
            async def inner():
                pass
            async def outer():
                run(inner())
            with pytest.raises(RuntimeError, match="Await the coroutine there"):
                run(outer())
        """)


def test_session_factory_of_the_application(project: Project) -> None:
    """`session_factory` in the configuration makes `async_session` the application's own kind."""
    project.replace("pyproject.toml", "seed =", 'session_factory = "shop.main:new_session"\nseed =')
    project.passes("""
        from shop.main import engine, new_session

        def test_kind(async_session):
            assert async_session.bind is engine
        """)


def test_urls_and_engine(project: Project) -> None:
    """The URLs name this test's database, the application's in its own form; the role has no special rights."""
    project.passes("""
        import os
        import pytest
        from sqlalchemy import create_engine, make_url, text
        from sqlalchemy.exc import ProgrammingError
        from shop.main import engine as async_engine

        def test_urls(database_url, sync_database_url, engine):
            assert database_url == os.environ["DATABASE_URL"]
            assert make_url(database_url) == async_engine.url
            assert make_url(sync_database_url).drivername == "postgresql+psycopg"
            assert make_url(sync_database_url).database == engine.url.database == async_engine.url.database

        def test_role(engine):
            with engine.connect() as connection:
                role = "SELECT current_user, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls FROM pg_roles"
                row = connection.execute(text(f"{role} WHERE rolname = current_user")).one()
                assert tuple(row) == ("greenroom_app", False, False, False, False)
                with pytest.raises(ProgrammingError, match="permission denied"):
                    connection.execute(text("DELETE FROM greenroom.touched"))
        """)


def test_overrides_are_put_back(project: Project) -> None:
    """`app.dependency_overrides` changed by a test are put back; those of a wider fixture stay for as long as it."""
    project.passes("""
        import pytest
        from shop.main import app, greeting

        @pytest.fixture(scope="class")
        def polite():
            app.dependency_overrides[greeting] = lambda: "good day"
            yield
            del app.dependency_overrides[greeting]

        def test_override(client, app):
            app.dependency_overrides[greeting] = lambda: "goodbye"
            assert client.get("/greeting").json() == "goodbye"

        def test_back(client):
            assert client.get("/greeting").json() == "hello"

        @pytest.mark.usefixtures("polite")
        class TestClass:
            def test_first(self, client):
                assert client.get("/greeting").json() == "good day"
                app.dependency_overrides.clear()

            def test_second(self, client):
                assert client.get("/greeting").json() == "good day"

        def test_after_the_class(client):
            assert client.get("/greeting").json() == "hello"
        """)


def test_unit_tests_start_no_server(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of unit tests touches no server: here none is available. They may still use `run`."""
    project.write(
        "tests/test_it.py",
        """
        import asyncio
        import pytest

        pytestmark = pytest.mark.unit

        async def double(number):
            await asyncio.sleep(0)
            return 2 * number

        def test_plain():
            assert 1 + 1 == 2

        def test_coroutine(run):
            assert run(double(2)) == 4
        """,
    )
    monkeypatch.setenv("GREENROOM_SERVER_URL", "postgresql://nobody@localhost:1/none")
    result = project.pytest()
    result.assert_outcomes(passed=2)


def test_test_that_asks_for_no_fixture(project: Project) -> None:
    """A test that makes its own client, or uses the application's own sessions, has the database, too."""
    project.passes("""
        import asyncio
        from shop.main import app
        from starlette.testclient import TestClient

        def test_own_client():
            assert TestClient(app).post("/customers/a").json() == {"id": 1}

        def test_own_client_entered():
            with TestClient(app) as client:
                assert client.post("/customers/a").json() == {"id": 1}
        """)


def test_unit_test_that_connects(project: Project) -> None:
    """A unit test that reaches the database through the application fails, and what it wrote is gone all the same."""
    project.write(
        "tests/test_it.py",
        """
        import pytest
        from shop.main import app, engine
        from starlette.testclient import TestClient

        @pytest.mark.unit
        def test_connects():
            TestClient(app).get("/customers")

        def test_opens_the_pool(client):
            client.get("/customers")

        @pytest.mark.unit
        def test_uses_the_pool():
            TestClient(app).post("/customers/a")

        def test_after(client):
            assert client.get("/customers").json() == []
        """,
    )
    result = project.pytest()
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*RefusedError: The test is marked 'unit', so it has no database*"])


def test_src_layout(project: Project) -> None:
    """The application is found in `src`, by the tests, the migrations and `doctor` alike."""
    (project.root / "shop").rename(project.root / "lib")
    (project.root / "src").mkdir()
    (project.root / "lib").rename(project.root / "src" / "shop")
    project.passes("""
        from shop.main import app

        def test_it(client):
            assert client.post("/customers/a").status_code == 201
        """)
    assert "shop.main:app starts up" in project.greenroom("doctor").stdout


def test_unit_test_that_asks_for_a_database(project: Project) -> None:
    """A unit test that asks for a database fails with one message that says what to do."""
    project.write(
        "tests/test_it.py",
        """
        import pytest

        @pytest.mark.unit
        def test_wrong(session):
            pass
        """,
    )
    result = project.pytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*is marked 'unit', so it has no database*", "*remove the marker*"])


def test_collecting_touches_no_server(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--collect-only` starts nothing and connects to nothing."""
    project.write("tests/test_it.py", "def test_it(client): pass")
    monkeypatch.setenv("GREENROOM_SERVER_URL", "postgresql://nobody@localhost:1/none")
    result = project.pytest("--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["tests/test_it.py::test_it"])


def test_asleep_without_the_table(pytester: pytest.Pytester, clean_environment: None) -> None:
    """In a project without `[tool.greenroom]` the plugin adds nothing and imports nothing."""
    pytester.makepyfile("""
        import os, sys

        def test_asleep(request):
            ours = {name for name in sys.modules if name.startswith("greenroom.")}
            assert ours <= {"greenroom.plugin", "greenroom.config", "greenroom.errors", "greenroom.toml"}
            assert "sqlalchemy" not in sys.modules and "starlette" not in sys.modules
            assert "DATABASE_URL" not in os.environ

        def test_no_fixture(session):
            pass
        """)
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'session' not found*"])


def test_options(embedded_project: Project) -> None:
    """Pytest's own help has a group of greenroom's; its options override the configuration for one run."""
    shown = embedded_project.pytest("--help")
    shown.stdout.fnmatch_lines(["greenroom:", "*--greenroom-engine=ENGINE*", "*--greenroom-keep-failed=N*"])
    embedded_project.write("tests/test_it.py", "def test_it(session): assert False\n")
    result = embedded_project.pytest(
        "tests/test_it.py", "--greenroom-keep-failed=0", "--greenroom-engine=embedded"
    )
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*greenroom psql*")
    wrong = embedded_project.pytest("--greenroom-engine=oracle")
    assert wrong.ret == 4
    wrong.stderr.fnmatch_lines(["*engine must be one of auto*"])


@pytest.mark.parametrize("by", ["factory", "import"])
def test_sessions_of_the_projects_own_class(project: Project, by: str) -> None:
    """`session` and `async_session` have the methods of the class that the project uses, as SQLModel's have `exec`."""
    folder = {"factory": "shop", "import": "lib/site-packages/shop_sessions"}[by]
    project.replace(
        "pyproject.toml",
        "[tool.pytest.ini_options]",
        '[tool.pytest.ini_options]\npythonpath = ["lib/site-packages"]',
    )
    project.write(f"{folder}/__init__.py", "")
    project.write(
        f"{folder}/sessions.py",
        """
        from sqlalchemy.ext.asyncio import AsyncSession
        from sqlalchemy.orm import Session

        class OwnSession(Session):
            def exec(self, statement):
                return self.scalars(statement)

        class OwnAsyncSession(AsyncSession):
            async def exec(self, statement):
                return await self.scalars(statement)
        """,
    )
    lines = {
        "factory": """
    from sqlalchemy.orm import sessionmaker
    from sqlalchemy.ext.asyncio import async_sessionmaker
    from shop.sessions import OwnAsyncSession, OwnSession
    new = sessionmaker(class_=OwnSession)
    new_async = async_sessionmaker(class_=OwnAsyncSession)
    """,
        "import": "\n    from shop_sessions.sessions import OwnSession, OwnAsyncSession\n    ",
    }[by]
    project.passes(
        lines
        + """
    from sqlalchemy import text

    def test_it(session, async_session, run):
        assert session.exec(text("SELECT 1")).all() == [1]
        assert run(async_session.exec(text("SELECT 1"))).all() == [1]
        assert async_session.sync_session.expire_on_commit is False
    """
    )


@pytest.mark.parametrize(
    ("hosts", "setting", "seen"),
    [
        ('["shop.example", "*.shop.example"]', "", "shop.example"),
        ('["*.shop.example"]', "", "testserver.shop.example"),
        ('["*"]', "", "testserver"),
        ('["testserver", "shop.example"]', "", "testserver"),
        ('["shop.example"]', 'base_url = "https://shop.example"', "shop.example"),
    ],
)
def test_host_that_the_application_allows(project: Project, hosts: str, setting: str, seen: str) -> None:
    """The client calls a host that `TrustedHostMiddleware` allows, or the one of the setting `base_url`."""
    project.replace("pyproject.toml", "seed =", f"{setting}\nseed =")
    project.write(
        "shop/hosts.py",
        f"""
        from fastapi import Request
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from shop.main import app

        app.add_middleware(TrustedHostMiddleware, allowed_hosts={hosts})

        @app.get("/host")
        def host(request: Request) -> str:
            return request.url.hostname
        """,
    )
    project.replace("pyproject.toml", "shop.main:app", "shop.hosts:app")
    project.passes(f"def test_it(client):\n    assert client.get('/host').json() == {seen!r}\n")


def test_markers_are_the_projects_own(project: Project) -> None:
    """A project's marker `unit` means nothing to greenroom, unless the setting names it."""
    project.replace("pyproject.toml", 'unit_marker = "unit"\n', "")
    project.replace(
        "pyproject.toml", "[tool.pytest.ini_options]", '[tool.pytest.ini_options]\nmarkers = ["unit"]'
    )
    project.passes(
        "import pytest\n\n@pytest.mark.unit\ndef test_it(client):\n    assert client.get('/customers').json() == []\n"
    )


def test_names_that_the_suite_has_already(project: Project) -> None:
    """A suite's own fixtures take the place of greenroom's; a folder of new tests gets greenroom's by importing them."""
    project.write(
        "tests/conftest.py",
        """
        import pytest

        @pytest.fixture
        def client(): return "the suite's own"

        @pytest.fixture(scope="session")
        def session(): return "the suite's own"
        """,
    )
    project.write("tests/new/conftest.py", "from greenroom.plugin.fixtures import client, session\n")
    project.write(
        "tests/new/test_new.py",
        """
        from sqlalchemy import text

        def test_it(client, session, run):
            client.post("/customers/Ada")
            assert session.scalar(text("SELECT name FROM customers")) == "Ada"
        """,
    )
    project.write(
        "tests/test_old.py", 'def test_it(client, session): assert client == session == "the suite\'s own"\n'
    )
    project.pytest("tests").assert_outcomes(passed=2)


def test_asynchronous_session_without_a_driver(project: Project) -> None:
    """An application that puts its driver into the URL itself has an `AsyncSession` on an asynchronous one."""
    project.replace("pyproject.toml", "seed =", 'driver = "postgresql"\nseed =')
    project.replace(
        "shop/main.py",
        'os.environ["DATABASE_URL"]',
        'os.environ["DATABASE_URL"].replace("://", "+asyncpg://")',
    )
    project.passes("""
        from sqlalchemy import text

        def test_it(run, async_session, client):
            client.post("/customers/Ada")
            assert run(async_session.scalar(text("SELECT name FROM customers"))) == "Ada"
    """)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, []),
        ({"tox.ini": "[pytest]\npythonpath = a b", "setup.cfg": "[tool:pytest]\npythonpath = c"}, ["a", "b"]),
        (
            {"tox.ini": "[pytest]\npythonpath = a", "pyproject.toml": 'ini_options.pythonpath = "b c"'},
            ["b", "c"],
        ),
        ({"pytest.ini": "[pytest]\npythonpath = a", "pyproject.toml": 'pythonpath = ["b"]'}, ["a"]),
        ({"pytest.toml": '[pytest]\npythonpath = ["a"]', "pytest.ini": "[pytest]\npythonpath = b"}, ["a"]),
        ({".pytest.toml": "pythonpath = [", "pyproject.toml": 'pythonpath = ["b"]'}, ["b"]),
    ],
)
def test_pythonpath(tmp_path: Path, files: dict[str, str], found: list[str]) -> None:
    """The application is found from the folders of pytest's `pythonpath`, in whichever of its files that is, in pytest's order."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    table = '[tool.greenroom]\napp = "shop.main:app"\nmetadata = "shop.models:metadata"\n\n[tool.pytest]\n'
    for name, text in {"pyproject.toml": "", **files}.items():
        (tmp_path / name).write_text(table + text if name == "pyproject.toml" else text)
    config = load(tmp_path, {})
    assert config is not None
    assert config.import_paths == [str(tmp_path / name) for name in (".", *found)]
