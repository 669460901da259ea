"""Runs with something wrong: a message that says what to do, no traceback, no password, and an exit code."""

from __future__ import annotations

import shutil
import time
from fnmatch import fnmatchcase
from pathlib import Path

import psycopg
import pytest

from greenroom import servers
from greenroom.config import load
from greenroom.errors import ConfigError
from tests.greenroom.conftest import PROJECTS, Project


def refused(project: Project, *lines: str, code: int = 1, errors: int = 1) -> str:
    """Run two tests that need a database, and expect the run to end at the first with these lines and no traceback."""
    project.write("tests/test_it.py", "def test_one(client): pass\ndef test_two(client): pass\n")
    start = time.monotonic()
    result = project.pytest()
    assert time.monotonic() - start < 20
    output = result.stdout.str() + result.stderr.str()
    assert result.ret == code, output
    if code == 1:
        result.assert_outcomes(errors=errors)
    (result.stdout if code == 1 else result.stderr).fnmatch_lines(list(lines))
    assert "Traceback" not in output
    assert "During handling" not in output
    return output


def test_server_that_does_not_answer(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong server URL ends the run at the first test, without the password in the message."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", "postgresql://postgres:hunter2@localhost:1/postgres")
    output = refused(
        project, "greenroom: The server that GREENROOM_SERVER_URL names does not answer*", "*→ start it*"
    )
    assert "hunter2" not in output


def test_foreign_databases(project: Project) -> None:
    """The name alone makes no database the run's own: neither another one on the server, nor one on another server."""
    project.passes("""
        import pytest
        from sqlalchemy import create_engine, make_url
        from greenroom.errors import RefusedError

        def test_it(sync_database_url):
            own = make_url(sync_database_url)
            for other in (
                own.set(database="shop_prod"),
                own.set(host="127.0.0.1", port=1, query={}),
                own.set(host="db.example.com", query={}),
            ):
                with pytest.raises(RefusedError, match="which is not this run's"):
                    create_engine(other).connect()
            engine = create_engine(own)
            engine.connect().close()
            engine.dispose()
        """)


def test_database_that_only_has_the_name(project: Project, server_url: str) -> None:
    """A database that bears a name of greenroom's without its mark is never dropped, and the message names it."""
    project.write("shop/more.py", "# the hash of the test with the wrong name\n")
    name = project.template()
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute(
            f'COMMENT ON DATABASE {name} IS \'{{"greenroom": {{"oid": 1, "kind": "template"}}}}\''
        )
        try:
            refused(project, f"greenroom: The database '{name}' has a name of greenroom's but not its mark*")
            assert project.greenroom("down").returncode == 0
            assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        finally:
            connection.execute(f"DROP DATABASE {name}")


def test_application_that_takes_its_url_elsewhere(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that connects to another database than the run's is stopped before it does, unless named."""
    monkeypatch.setenv("OTHER", "postgresql+asyncpg://me:hunter2@localhost:1/app_prod")
    project.replace("shop/main.py", 'os.environ["DATABASE_URL"]', 'os.environ["OTHER"]')
    project.write("tests/test_it.py", "def test_it(client): client.get('/customers')")
    result = project.pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*RefusedError: *the database 'app_prod' on localhost, which is not this run's*"]
    )
    assert "hunter2" not in result.stdout.str()
    project.replace("pyproject.toml", "seed =", 'other_databases = ["app_prod"]\nseed =')
    project.pytest().stdout.fnmatch_lines(["*ConnectionRefusedError*"])


def test_wrong_url_in_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever DATABASE_URL says in the developer's shell is neither used nor touched: the run sets its own."""
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://me:hunter2@db.example.com/app_prod")
    project.passes("""
        def test_it(client):
            assert client.post("/customers/a").status_code == 201
        """)


def test_libpq_variables(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What libpq would take from the environment changes nothing: not even PGHOSTADDR, which overrules a URL's host."""
    monkeypatch.setenv("PGHOSTADDR", "10.0.0.7")
    monkeypatch.setenv("PGSERVICE", "production")
    monkeypatch.setenv("PGPORT", "1")
    project.passes("""
        import os

        def test_it(client, session):
            assert client.post("/customers/a").status_code == 201
            assert not {"PGHOSTADDR", "PGSERVICE", "PGPORT"} & set(os.environ)
        """)
    assert project.greenroom("status").returncode == 0


def test_server_that_ends_in_the_middle(embedded_project: Project, runtime: Path) -> None:
    """When the server dies in the middle of a run, the run ends with one message that says so, and leaves nothing."""
    embedded_project.write(
        "tests/test_it.py",
        """
        import os, pathlib, signal, time

        def test_one(client):
            (pid,) = pathlib.Path(os.environ["GREENROOM_RUNTIME_DIR"]).glob("*/*/run-*/data/postmaster.pid")
            os.kill(int(pid.read_text().split()[0]), signal.SIGQUIT)
            end = time.monotonic() + 20
            while pid.exists():  # its last act
                assert time.monotonic() < end
                time.sleep(0.01)

        def test_two(client):
            pass
        """,
    )
    result = embedded_project.pytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "greenroom: The server has ended in the middle of the run*",
            "*→ greenroom up*",
            "*the server has ended*",
        ]
    )
    assert result.ret == 1
    assert list(runtime.iterdir()) == []


def test_broken_seed(project: Project) -> None:
    """A schema that cannot be built ends the run with the file and the database's own words."""
    project.write("seed.sql", "INSERT INTO nowhere VALUES (1);")
    refused(
        project,
        "greenroom: The schema could not be built.",
        '*UndefinedTable: relation "nowhere" does not exist*',
        "*in *seed.sql",
        "*→ correct it*",
    )


def test_broken_migration(project: Project) -> None:
    """A migration that fails ends the run with its file, its line, and its error; mended, the next run is green."""
    migrations(project)
    project.replace("migrations/versions/one.py", 'op.execute("', 'op.execute("oops ')
    refused(project, "*migrations/versions/one.py:9: op.execute*", '*syntax error at or near "oops"*')
    project.replace("migrations/versions/one.py", "oops ", "")
    project.passes("def test_it(client): assert client.get('/customers').json() == []")


def test_migrations_that_go_elsewhere(project: Project) -> None:
    """An env.py that would migrate another database than it is told is stopped before it connects."""
    migrations(project)
    project.write(
        "migrations/env.py",
        """
        from alembic import context
        from sqlalchemy import create_engine

        with create_engine("postgresql+psycopg://me:hunter2@localhost:1/app_prod").connect() as connection:
            context.configure(connection=connection)
            context.run_migrations()
        """,
    )
    output = refused(project, "*about to connect to the database 'app_prod' on localhost*", "*→ *")
    assert "hunter2" not in output


def test_asynchronous_env_py(project: Project) -> None:
    """Alembic's stock asynchronous env.py, which starts a loop of its own, works as it is."""
    migrations(project)
    project.write(
        "migrations/env.py",
        """
        import asyncio
        from alembic import context
        from sqlalchemy import pool
        from sqlalchemy.ext.asyncio import async_engine_from_config

        def do_run_migrations(connection):
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()

        async def run_async_migrations():
            connectable = async_engine_from_config(
                context.config.get_section(context.config.config_ini_section, {}),
                prefix="sqlalchemy.", poolclass=pool.NullPool)
            async with connectable.connect() as connection:
                await connection.run_sync(do_run_migrations)
            await connectable.dispose()

        asyncio.run(run_async_migrations())
        """,
    )
    project.passes("def test_it(client): assert client.get('/customers').json() == []")


def migrations(project: Project) -> None:
    """Give the project an Alembic environment with one revision instead of its metadata."""
    project.replace(
        "pyproject.toml", 'metadata = "shop.models:metadata"\nseed = ["seed.sql"]', 'alembic = "alembic.ini"'
    )
    project.write(
        "alembic.ini",
        """
        [alembic]
        script_location = %(here)s/migrations
        sqlalchemy.url = driver://user:pass@localhost/dbname
        """,
    )
    project.write(
        "migrations/env.py",
        """
        from alembic import context

        context.configure(connection=context.config.attributes["connection"])
        with context.begin_transaction():
            context.run_migrations()
        """,
    )
    project.write(
        "migrations/versions/one.py",
        '''
        """One."""
        from alembic import op

        revision = "one"
        down_revision = None


        def upgrade():
            op.execute("CREATE TABLE customers (id serial PRIMARY KEY, name text UNIQUE, country_code text)")
        ''',
    )


def test_application_that_does_not_import(project: Project) -> None:
    """An application that does not import ends the run with the line at fault."""
    project.replace("shop/main.py", "import asyncio\n", "import asyncio\nimport nowhere\n")
    refused(
        project,
        "greenroom: The schema could not be built.",
        "*shop/main.py:6: import nowhere*",
        "*ModuleNotFoundError: No module named 'nowhere'*",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('app = "shop.main:app"\n', "", "*has no key 'app', which names*"),
        ("seed =", "seeds =", "*has no key 'seeds'*"),
        ('seed = ["seed.sql"]', "seed = 7", "*seed must be a list of strings, or one string. Found: 7.*"),
        ('["seed.sql"]', '["sed.sql"]', "*names a file that does not exist: *sed.sql.*"),
        ('metadata = "shop.models:metadata"\n', "", "*must say where the schema comes from*Found: none*"),
        ("shop.main:app", "shop.main.app", '*app must be an import string such as "package.module:name"*'),
        ("seed =", 'driver = "mysql+aiomysql"\nseed =', "*driver must be a PostgreSQL scheme*"),
        ("seed =", 'role = "pg_read_all_data"\nseed =', "*role must be a plain lower-case name*"),
        ("seed =", 'lifespan = "module"\nseed =', '*lifespan must be "run" or "test". Found: *module*'),
        ("seed =", 'engine = "oracle"\nseed =', "*engine must be one of auto, *Found: 'oracle'*"),
        ("[tool.greenroom]", "[tool.greenroom", "*is not valid TOML*"),
    ],
)
def test_wrong_configuration(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A mistake in `[tool.greenroom]` is refused with the rule and the actual value."""
    for name in ("pyproject.toml", "seed.sql"):
        shutil.copy(PROJECTS / "shop" / name, tmp_path)
    text = (tmp_path / "pyproject.toml").read_text()
    assert old in text
    (tmp_path / "pyproject.toml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError) as refusal:  # noqa: PT012 - both are asked before anything is done
        config = load(tmp_path, {})
        assert config is not None
        servers.choose(config, servers.Postgres)
    assert fnmatchcase(refusal.value.message, message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed =", "seeds =", "*has no key 'seeds'*"),
        ("seed =", 'engine = "oracle"\nseed =', "*engine must be one of auto, *Found: 'oracle'*"),
        ("[tool.greenroom]", "[tool.greenroom", ""),  # pytest itself is the first to fall over that
    ],
    ids=["key", "engine", "TOML"],
)
def test_run_with_a_wrong_configuration(project: Project, old: str, new: str, message: str) -> None:
    """A run ends before anything is collected, and a command at once, with one message."""
    project.replace("pyproject.toml", old, new)
    project.write("tests/test_it.py", "def test_it(client): pass")
    result = project.pytest()
    assert result.ret == 4
    if message:
        result.stderr.fnmatch_lines([message])
    assert "Traceback" not in result.stderr.str()
    done = project.greenroom("status")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
