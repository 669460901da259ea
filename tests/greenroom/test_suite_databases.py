"""Databases that a suite makes itself: on the run's server, this process's own, and gone afterwards."""

from __future__ import annotations

import psycopg
import pytest

from tests.greenroom.conftest import Project

CONFTESTS = {
    # The engine of the application, AUTOCOMMIT, and then an engine to the new one.
    "asynchronous": """
        import asyncio
        import pytest
        from sqlalchemy import make_url, text
        from sqlalchemy.ext.asyncio import create_async_engine
        from shop.main import engine
        from shop.models import metadata

        async def prepare(url):
            connection = await engine.connect()
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("DROP DATABASE IF EXISTS test_shop"))
            await connection.execute(text("CREATE DATABASE test_shop"))
            await connection.close()
            await engine.dispose()
            other = create_async_engine(url)
            async with other.begin() as connection:
                await connection.run_sync(metadata.create_all)
            await other.dispose()

        @pytest.fixture(scope="session")
        def url():
            url = engine.url.set(database="test_shop")
            asyncio.run(prepare(url))
            return url.set(drivername="postgresql+psycopg")
    """,
    # As sqlalchemy_utils does it: by way of `postgres`, with an encoding and a template, after a look whether it is there.
    "maintenance": """
        import pytest
        from sqlalchemy import create_engine, make_url, text
        from sqlalchemy.exc import OperationalError
        from shop.models import metadata

        def exists(url):
            for database in (url.database, "postgres", "template1"):
                engine = create_engine(url.set(database=database))
                try:
                    with engine.connect() as connection:
                        return bool(connection.scalar(text(f"SELECT 1 FROM pg_database WHERE datname='{url.database}'")))
                except OperationalError:
                    pass
                finally:
                    engine.dispose()

        @pytest.fixture(scope="session")
        def url(sync_database_url):
            url = make_url(sync_database_url).set(database="TestShop")
            maintenance = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
            with maintenance.begin() as connection:
                if exists(url):
                    connection.execute(text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
                    ), {"name": url.database})
                    connection.execute(text('DROP DATABASE "TestShop"'))
                assert not exists(url)
                connection.execute(text('CREATE DATABASE "TestShop" ENCODING \\'utf8\\' TEMPLATE template1'))
                assert exists(url)
            engine = create_engine(url)
            metadata.create_all(engine)
            engine.dispose()
            yield url
            with maintenance.begin() as connection:
                connection.execute(text('DROP DATABASE "TestShop" WITH (FORCE)'))
                assert not exists(url)
            maintenance.dispose()
    """,
    # A connection that is in a transaction, which is ended by hand; what is there is tolerated.
    "commit": """
        import pytest
        from sqlalchemy import create_engine, make_url, text
        from sqlalchemy.exc import ProgrammingError
        from shop.models import metadata

        @pytest.fixture(scope="session")
        def url(sync_database_url):
            base = make_url(sync_database_url)
            engine = create_engine(base)
            with engine.connect() as connection:
                connection.execute(text("commit"))
                with pytest.raises(ProgrammingError, match="does not exist"):
                    connection.execute(text("drop database test"))
                connection.execute(text("commit"))
                connection.execute(text("create database test"))
                with pytest.raises(ProgrammingError, match='database "test" already exists'):
                    connection.execute(text("create database test"))
            engine.dispose()
            # A base URL and a name, as settings put them together.
            url = base.set(database=f"{base.database}/test")
            engine = create_engine(url)
            metadata.create_all(engine)
            engine.dispose()
            return url
    """,
    # A template of its own, and a clone of it.
    "template": """
        import pytest
        from sqlalchemy import create_engine, make_url
        from shop.models import metadata

        @pytest.fixture(scope="session")
        def url(sync_database_url):
            url = make_url(sync_database_url)
            own = create_engine(url, isolation_level="AUTOCOMMIT")
            with own.connect() as connection:
                connection.exec_driver_sql("CREATE DATABASE shop_template")
                engine = create_engine(url.set(database="shop_template"))
                metadata.create_all(engine)
                engine.dispose()
                connection.exec_driver_sql("CREATE DATABASE shop_clone WITH TEMPLATE = shop_template")
            own.dispose()
            return url.set(database="shop_clone")
    """,
    # Nothing makes it: a developer has made it by hand, once.
    "by hand": """
        import pytest
        from sqlalchemy import make_url

        @pytest.fixture(scope="session")
        def url(sync_database_url):
            url = make_url(sync_database_url)
            return url.set(database=f"{url.database}_test")
    """,
}

TESTS = """
    import pytest
    from sqlalchemy import create_engine, func, select
    from shop.models import Customer

    @pytest.fixture
    def connection(url):
        engine = create_engine(url)
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    def add(connection):
        before = connection.scalar(select(func.count()).select_from(Customer))
        connection.execute(Customer.__table__.insert(), {"name": f"customer {before}"})
        connection.commit()
        return before

    def test_one(connection, session):
        assert add(connection) == 0
        assert session.scalar(select(func.count()).select_from(Customer)) == 0

    def test_two(connection):
        assert add(connection) == 1
"""


def databases(server_url: str) -> list[str]:
    """The databases on the server that are not templates."""
    with psycopg.connect(server_url) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")
        return [name for (name,) in rows]


@pytest.mark.parametrize("conftest", CONFTESTS)
def test_makes_its_own(
    project: Project, conftest: str, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each common way to make one works, beside greenroom's own database; what is in it stays, and at the end it is gone."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    monkeypatch.setenv("GREENROOM_ENGINE", "external")
    before = databases(server_url)
    project.write("conftest.py", CONFTESTS[conftest])
    result = project.passes(TESTS)
    result.stdout.fnmatch_lines(["greenroom: * is the suite's own database (*); it is not rewound"])
    assert databases(server_url) == before


def test_workers(project: Project) -> None:
    """Two workers make databases of one name, and each has its own."""
    project.write("conftest.py", CONFTESTS["commit"])
    project.passes(
        """
        import pytest
        from sqlalchemy import create_engine, text

        @pytest.mark.parametrize("number", range(2))
        def test_it(url, number, worker_id):
            engine = create_engine(url)
            with engine.begin() as connection:
                names = connection.scalars(text("SELECT name FROM customers")).all()
                assert {name.split()[0] for name in names} <= {worker_id}
                connection.execute(text("INSERT INTO customers (name) VALUES (:name)"), {"name": f"{worker_id} {number}"})
            engine.dispose()
        """,
        "-n2",
    )


def test_killed(project: Project, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run that is killed has left, the next run drops."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    monkeypatch.setenv("GREENROOM_ENGINE", "external")
    before = databases(server_url)
    project.write("conftest.py", CONFTESTS["commit"])
    project.write("tests/test_it.py", "import os\ndef test_it(url): os.kill(os.getpid(), 9)\n")
    project.pytest()
    assert [name for name in databases(server_url) if name.endswith("_test")]
    project.passes("def test_it(session): pass\n")
    assert databases(server_url) == before


def test_an_application_with_a_constant(project: Project) -> None:
    """A name that the suite has not made, and that says nothing of tests, is refused: nobody knows whose rows these are."""
    project.write(
        "tests/test_it.py",
        """
        from sqlalchemy import create_engine, make_url

        def test_it(sync_database_url):
            create_engine(make_url(sync_database_url).set(database="shop")).connect()
        """,
    )
    project.pytest().stdout.fnmatch_lines(
        ["*RefusedError: *the database 'shop' on*, which is not this run's*"]
    )


def test_driver(project: Project) -> None:
    """A statement that is sent straight with a driver is the server's to refuse."""
    project.passes("""
        import psycopg
        import pytest

        def test_it(session, sync_database_url):
            url = sync_database_url.replace("+psycopg", "")
            with psycopg.connect(url, autocommit=True) as connection:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("CREATE DATABASE test")
    """)


ELSEWHERE = "postgresql+asyncpg://somebody:hunter2@localhost:1/app_test"


@pytest.mark.parametrize(
    "conftest",
    [
        # Over what greenroom sets, before the application is imported.
        f"import os\nos.environ['DATABASE_URL'] = {ELSEWHERE.replace('app_test', 'app')!r}\n",
        # A constant that stands in the place of the application's engine.
        f"""import shop.main
from sqlalchemy.ext.asyncio import create_async_engine
shop.main.new_session.configure(bind=create_async_engine({ELSEWHERE!r}))
""",
    ],
    ids=["variable", "constant"],
)
def test_a_url_of_the_conftest_s_own(project: Project, conftest: str) -> None:
    """A conftest that names a test database elsewhere gets the run's server, and the end of the run says so."""
    project.write("conftest.py", conftest)
    result = project.passes("""
        def test_it(client):
            assert client.post("/customers/Ada").status_code == 201
            assert client.get("/customers").json() == ["Ada"]
    """)
    result.stdout.fnmatch_lines(
        ["greenroom: connections to app* on localhost:1 were led to this run's server (*)"]
    )
    assert "hunter2" not in result.stdout.str()


def test_the_maintenance_database_elsewhere(project: Project) -> None:
    """A conftest may make its database by way of a server of its own; an application that goes there is stopped."""
    there = ELSEWHERE.replace("+asyncpg", "+psycopg").replace("app_test", "postgres")
    project.passes(f"""
        from sqlalchemy import NullPool, create_engine

        def test_it(session):
            engine = create_engine({there!r}, isolation_level="AUTOCOMMIT", poolclass=NullPool)
            with engine.connect() as connection:
                connection.exec_driver_sql("CREATE DATABASE shop_of_tests")
    """)
    project.replace(
        "shop/main.py", 'os.environ["DATABASE_URL"]', repr(ELSEWHERE.replace("app_test", "postgres"))
    )
    project.write("tests/test_it.py", "def test_it(client): client.get('/customers')")
    project.pytest().stdout.fnmatch_lines(["*RefusedError: *the database 'postgres' on localhost*"])


def test_files_of_variables(project: Project) -> None:
    """What a plugin reads from a file before the conftests are loaded does not take the place of this run's URL."""
    project.write(
        "dotenv_plugin.py",
        f"""
        import os
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_load_initial_conftests():
            os.environ["DATABASE_URL"] = {ELSEWHERE!r}
        """,
    )
    project.passes("def test_it(client): assert client.get('/customers').json() == []", "-p", "dotenv_plugin")


def test_its_own_name_for_the_run_s(project: Project) -> None:
    """A suite whose settings name the run's own database, and that makes it afresh, finds it as it is at the beginning."""
    project.write(
        "conftest.py",
        """
        import pytest
        from sqlalchemy import create_engine, make_url, text
        from shop.models import metadata

        def execute(url, *statements):
            engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                for statement in statements:
                    connection.execute(text(statement))
            engine.dispose()

        @pytest.fixture(scope="session")
        def url(sync_database_url):
            url = make_url(sync_database_url)
            end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'"
            execute(url, end, f"DROP DATABASE {url.database}", f"CREATE DATABASE {url.database}")
            engine = create_engine(url)
            metadata.create_all(engine)
            engine.dispose()
            yield url
            execute(url, end, f"DROP DATABASE {url.database}")
        """,
    )
    project.passes("""
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(url, client, number):
            assert client.post("/customers/Ada").status_code == 201
    """)
