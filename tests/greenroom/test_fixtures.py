"""The fixtures, as a project uses them."""

from __future__ import annotations

import pytest

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
    """A run of unit tests touches no server: here there is none to be had. They may still use `run`."""
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
    assert "shop.main:app imports" in project.greenroom("doctor").stdout


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
    result.stdout.fnmatch_lines(["*is marked 'unit', so it has no database*", "*take the marker away*"])


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
            assert ours <= {"greenroom.plugin", "greenroom.config", "greenroom.errors"}
            assert "sqlalchemy" not in sys.modules and "starlette" not in sys.modules
            assert "DATABASE_URL" not in os.environ

        def test_no_fixture(session):
            pass
        """)
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'session' not found*"])
