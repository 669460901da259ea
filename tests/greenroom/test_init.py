"""`greenroom init` on small projects of several shapes: what it reads, what trying shows, and what it writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.greenroom.conftest import ROOT, Project

MODELS = """
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


    class Base(DeclarativeBase):
        pass


    class Item(Base):
        __tablename__ = "items"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
"""

MAIN = """
    from fastapi import FastAPI
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    from {package}.settings import settings

    engine = create_async_engine(settings.{url})
    app = FastAPI()


    @app.post("/items")
    async def create():
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO items (id, name) VALUES (1, 'one')"))
"""

SETTINGS = """
    from pydantic_settings import BaseSettings


    class Settings(BaseSettings):
        database_url: str


    settings = Settings()
"""

ENV = """
    from alembic import context

    from {package}.models import Base

    context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""

REVISION = """
    from alembic import op

    revision, down_revision = "one", None


    def upgrade():
        op.execute("CREATE TABLE {table} (id int PRIMARY KEY, name text NOT NULL)")
"""

TEST = """
    from sqlalchemy import text


    def test_it(client, session):
        assert client.post("/items").status_code == 200
        assert session.scalar(text("SELECT count(*) FROM {table}")) == 1
"""


@pytest.fixture
def bare(pytester: pytest.Pytester, runtime: Path) -> Project:
    """An empty folder, whose servers are its own and listen on the loopback as a user's do."""
    (pytester.path / ".git").mkdir()
    return Project(pytester.path, pytester)


def service(
    project: Project, folder: str = "", package: str = "shop", main: str = MAIN, url: str = "database_url"
) -> None:
    """Write a service with metadata and a setting for its URL."""
    project.write(f"{folder}{package}/__init__.py", "")
    project.write(f"{folder}{package}/models.py", MODELS)
    project.write(f"{folder}{package}/settings.py", SETTINGS)
    project.write(f"{folder}{package}/main.py", main.format(package=package, url=url))


def migrations(project: Project, folder: str = "", package: str = "shop", table: str = "items") -> None:
    """Write an Alembic environment with one revision."""
    project.write(f"{folder}alembic.ini", "[alembic]\nscript_location = migrations\n")
    project.write(f"{folder}migrations/env.py", ENV.format(package=package))
    project.write(f"{folder}migrations/versions/one.py", REVISION.format(table=table))


def written(project: Project, *arguments: str, folder: str = ".", code: int = 0) -> dict[str, Any]:
    """Run init without a question, and return the table that it has written."""
    done = project.command("-C", folder, "init", "--yes", "--no-add", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return table(project, folder)


def table(project: Project, folder: str = ".") -> dict[str, Any]:
    """The table as it is in the file."""
    document = tomllib.loads((project.root / folder / "pyproject.toml").read_text())
    found: dict[str, Any] = document["tool"]["greenroom"]
    return found


def test_one_url_and_metadata(bare: Project) -> None:
    """A service in the form of the first example: what is no default is written, and a test passes."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare)
    assert written(bare) == {"app": "shop.main:app", "metadata": "shop.models:Base.metadata"}
    bare.passes(TEST.format(table="items"))


def test_nested_parts_in_src(bare: Project) -> None:
    """Nested settings for the parts of the URL, a required secret that CI names, Alembic, and a package in src/."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    bare.write(
        ".github/workflows/tests.yml",
        "jobs:\n  t:\n    steps:\n      - run: pytest\n        env:\n          SECURITY__KEY: key-of-ci\n",
    )
    service(bare, "src/", main=MAIN, url="url")
    bare.write(
        "src/shop/settings.py",
        """
        from pydantic import BaseModel, SecretStr
        from pydantic_settings import BaseSettings, SettingsConfigDict
        from sqlalchemy import URL


        class Security(BaseModel):
            key: SecretStr


        class Database(BaseModel):
            hostname: str = "postgres"
            username: str = "postgres"
            password: SecretStr = SecretStr("postgres")
            port: int = 5432
            db: str = "postgres"


        class Settings(BaseSettings):
            model_config = SettingsConfigDict(env_nested_delimiter="__")

            security: Security
            database: Database = Database()

            @property
            def url(self) -> URL:
                its = self.database
                password = its.password.get_secret_value()
                return URL.create("postgresql+asyncpg", its.username, password, its.hostname, its.port, its.db)


        settings = Settings()
        """,
    )
    migrations(bare)
    assert written(bare) == {
        "app": "shop.main:app",
        "alembic": "alembic.ini",
        "environment": {
            "DATABASE__HOSTNAME": "{host}",
            "DATABASE__USERNAME": "{user}",
            "DATABASE__PASSWORD": "{password}",
            "DATABASE__PORT": "{port}",
            "DATABASE__DB": "{database}",
        },
        "environment_defaults": {"SECURITY__KEY": "key-of-ci"},
    }
    bare.passes(TEST.format(table="items"))


def test_synchronous_in_backend(bare: Project) -> None:
    """A synchronous service in backend/, whose settings take PostgresDsn and read a .env that is in the repository above."""
    bare.write(
        ".env", "DATABASE_URL=postgresql://postgres:${PASSWORD}@localhost:5432/app\nSECRET_KEY=changethis\n"
    )
    bare.write("backend/pyproject.toml", '[project]\nname = "app"\n')
    service(bare, "backend/", "app")
    bare.write(
        "backend/app/settings.py",
        """
        from pydantic import PostgresDsn, field_validator
        from pydantic_settings import BaseSettings, SettingsConfigDict


        class Settings(BaseSettings):
            model_config = SettingsConfigDict(env_file="../.env", extra="ignore")

            SECRET_KEY: str
            DATABASE_URL: PostgresDsn

            @field_validator("DATABASE_URL", mode="before")
            @classmethod
            def _driver(cls, value: str) -> str:
                return str(value).replace("postgresql://", "postgresql+psycopg://", 1)


        settings = Settings()
        """,
    )
    bare.write(
        "backend/app/main.py",
        """
        from fastapi import FastAPI
        from sqlalchemy import create_engine

        from app.settings import settings

        engine = create_engine(str(settings.DATABASE_URL))
        app = FastAPI()
        """,
    )
    migrations(bare, "backend/", "app")
    expected = {"app": "app.main:app", "driver": "postgresql", "alembic": "alembic.ini"}
    assert written(bare, folder="backend") == expected


def test_settings_of_several_services(bare: Project) -> None:
    """In a checkout with several services, each with a class `Settings`, those of this service are read."""
    bare.write("alerts/app/settings.py", SETTINGS.replace("database_url", "alerts_topic"))
    bare.write("alerts/pyproject.toml", '[tool.pytest.ini_options]\nenv = [\n    "ALERTS_TOPIC = a",\n]\n')
    bare.write(
        "orders/pyproject.toml",
        '[project]\nname = "orders"\n\n[tool.pytest.ini_options]\nenv = [\n    "REGION = north",\n]\n',
    )
    service(bare, "orders/", "app")
    bare.write(
        "orders/app/settings.py", SETTINGS.replace("settings =", "    region: str\n\n\n    settings =")
    )
    migrations(bare, "orders/", "app")
    assert written(bare, folder="orders") == {
        "app": "app.main:app",
        "alembic": "alembic.ini",
        "environment_defaults": {"REGION": "north"},
    }


def test_variables_of_pytest_env(bare: Project) -> None:
    """What pytest-env sets is set when the application is tried, also where the setting has a default."""
    bare.write(
        "pyproject.toml",
        """
        [tool.pytest.ini_options]
        env = [
            "D:DOCS_ARE_READ=true",  # or it does not start
            "ELSEWHERE=not read by the project",
        ]
        """,
    )
    service(
        bare,
        main=MAIN + '\n\n    if not settings.docs_are_read:\n        raise SystemExit("read the docs")\n',
    )
    bare.write(
        "shop/settings.py",
        SETTINGS.replace("settings =", "    docs_are_read: bool = False\n\n\n    settings ="),
    )
    migrations(bare)
    assert written(bare)["environment_defaults"] == {"DOCS_ARE_READ": "true"}


def test_settings_in_the_package(bare: Project) -> None:
    """A package that has pytest's settings in it is no project: it is imported from the folder above."""
    service(bare, "backend/")
    bare.write("backend/shop/pytest.ini", "[pytest]\n")
    bare.write("backend/requirements.txt", "fastapi\n")
    found = written(bare, "--no-try", folder="backend")
    assert found["app"] == "shop.main:app"
    assert not (bare.root / "backend/shop/pyproject.toml").exists()


def test_no_pyproject(bare: Project) -> None:
    """Without a pyproject.toml one is made, a factory is called, and a variable of the tests gets the URL as well."""
    bare.write("requirements.txt", "fastapi\nasyncpg\n")
    bare.write("pytest.ini", "[pytest]\npythonpath = lib\nmarkers =\n    unit: quick\n")
    bare.write("lib/helpers.py", "NAME = 'shop'\n")
    service(bare)
    bare.write(
        "shop/main.py",
        """
        import os
        from contextlib import asynccontextmanager

        import helpers
        from fastapi import FastAPI
        from sqlalchemy.ext.asyncio import create_async_engine

        from shop.models import Base


        def make():
            engine = create_async_engine(os.environ["SHOP_DB_DSN"])

            @asynccontextmanager
            async def lifespan(app):
                async with engine.begin() as connection:
                    await connection.run_sync(Base.metadata.create_all)
                yield
                await engine.dispose()

            application = FastAPI(lifespan=lifespan, title=helpers.NAME)
            return application
        """,
    )
    bare.write("tests/conftest.py", "import os\n\nURL = os.environ.get('TEST_DATABASE_URL', 'sqlite://')\n")
    assert written(bare) == {
        "app": "shop.main:make()",
        "database_url": "SHOP_DB_DSN",
        "schema_at_startup": True,
        "environment": {"TEST_DATABASE_URL": "{url}"},
    }


def test_another_variable_is_tried(bare: Project) -> None:
    """Of two variables the first leads elsewhere: the second one is taken."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare, url="reporting_dsn")
    bare.replace(
        "shop/settings.py",
        "database_url: str",
        'database_url: str = ""\n    reporting_dsn: str = "postgresql+asyncpg://db/shop"',
    )
    assert written(bare)["database_url"] == "REPORTING_DSN"


def test_what_today_s_tests_set_is_left_out_where_it_leads_elsewhere(bare: Project) -> None:
    """ENV=ci chooses a file with another URL. Without it, the application uses the run's database."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    bare.write("Makefile", "test:\n\tENV=ci LEVEL=debug pytest\n")
    service(bare)
    bare.replace(
        "shop/settings.py",
        "from pydantic_settings",
        "import os\n\nif os.getenv('ENV') == 'ci':\n"
        "    os.environ['DATABASE_URL'] = 'postgresql+asyncpg://ci@elsewhere/ci'\n\nfrom pydantic_settings",
    )
    done = bare.command("init", "--yes", "--no-add")
    assert done.returncode == 0, done.stderr
    assert "environment_defaults" not in table(bare)
    told = "tried: its engine leads to postgresql+asyncpg://ci@elsewhere/ci; next: without environment_defaults.ENV"
    assert told in done.stderr


def test_a_port_that_nobody_asks_for(bare: Project) -> None:
    """An application that has no setting for the port reaches the server nevertheless."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare, url="url")
    bare.write(
        "shop/settings.py",
        """
        import os

        from sqlalchemy import URL


        class settings:
            url = URL.create(
                "postgresql+asyncpg",
                os.environ["PG_USER"],
                os.environ["PG_PASSWORD"],
                os.environ["PG_HOST"],
                database=os.environ["PG_NAME"],
            )
        """,
    )
    assert written(bare)["environment"] == {
        "PG_USER": "{user}",
        "PG_PASSWORD": "{password}",
        "PG_HOST": "{host}",
        "PG_NAME": "{database}",
        "PGPORT": "{port}",
    }
    bare.passes(TEST.format(table="items"))


def test_a_schema_that_is_made_by_hand(bare: Project) -> None:
    """Migrations into a schema that nothing makes: a file that makes it is written, and a second call changes nothing."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare)
    migrations(bare, table="stock.items")
    assert written(bare)["before"] == ["greenroom.sql"]
    assert (bare.root / "greenroom.sql").read_text() == 'CREATE SCHEMA IF NOT EXISTS "stock";\n'
    assert bare.command("init", "--check", "--no-add").returncode == 0


def test_a_switch_of_a_service(bare: Project) -> None:
    """An application that cannot start up without its mail server is started with the setting that switches it off."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare)
    bare.replace("shop/settings.py", "database_url: str", "database_url: str\n    smtp_enabled: bool = True")
    bare.replace(
        "shop/main.py",
        "app = FastAPI()",
        "import smtplib\n\nif settings.smtp_enabled:\n    smtplib.SMTP('127.0.0.1', 1)\napp = FastAPI()",
    )
    assert written(bare)["environment_defaults"] == {"SMTP_ENABLED": "false"}


def test_what_does_not_work_is_said(bare: Project) -> None:
    """If nothing works, init says what was tried last and why, without a traceback, and the exit code is 1."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare)
    bare.replace("shop/main.py", "app = FastAPI()", "app = FastAPI(title=undefined)")
    done = bare.command("init", "--yes", "--no-add")
    assert done.returncode == 1
    assert "it does not work yet: The schema could not be built." in done.stderr
    assert "shop/main.py:8: app = FastAPI(title=undefined)" in done.stderr
    assert "NameError: name 'undefined' is not defined" in done.stderr
    assert "Traceback" not in done.stderr


DOCUMENT = """\
# a comment
[project]
name = "shop"   # aligned   by hand

[tool.other]
text = '''
[not.a.header]
'''
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_nothing_else_changes(bare: Project, newline: str) -> None:
    """Every other byte of pyproject.toml stays, a second call changes nothing, and what has drifted is told."""
    service(bare)
    path = bare.root / "pyproject.toml"
    document = DOCUMENT.replace("\n", newline).encode()
    path.write_bytes(document)
    assert bare.command("init", "--dry-run", "--no-try").returncode == 0
    assert path.read_bytes() == document
    written(bare, "--no-try")
    first = path.read_bytes()
    assert first.startswith(document)
    assert (b"\r\n" in first) == (newline == "\r\n")
    path.write_bytes(first + newline.encode() + b"[tool.last]" + newline.encode())
    done = bare.command("init", "--yes", "--no-add", "--no-try")
    assert "nothing to change" in done.stderr
    assert bare.command("init", "--check", "--no-try").returncode == 0
    bare.replace("shop/settings.py", "database_url", "shop_dsn: str\n    database_url")
    bare.replace("shop/settings.py", "    database_url: str\n", "")
    done = bare.command("init", "--check", "--no-try")
    assert done.returncode == 1
    assert '+database_url = "SHOP_DSN"' in done.stdout
    assert path.read_bytes().endswith(b"[tool.last]" + newline.encode())
    assert written(bare, "--no-try")["database_url"] == "SHOP_DSN"
    assert path.read_bytes().endswith(b"[tool.last]" + newline.encode())


def test_what_somebody_has_written_stays(bare: Project) -> None:
    """A section that init did not write, or that was changed since, is left as it is, and so is a Makefile's include."""
    service(bare)
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    bare.write("Makefile", "test:\n\tpytest\n")
    written(bare, "--no-try")
    makefile, ours = (bare.root / "Makefile").read_text(), (bare.root / "greenroom.mk").read_text()
    assert makefile == "test:\n\tpytest\n\ninclude greenroom.mk\n"
    assert "test-up:" in ours
    assert "\ntest:" not in ours
    bare.replace("pyproject.toml", "[tool.greenroom]\n", "[tool.greenroom]\nkeep_failed = 1\n")
    bare.write("greenroom.mk", "mine:\n")
    before = (bare.root / "pyproject.toml").read_text()
    done = bare.command("init", "--yes", "--no-add", "--no-try")
    assert done.returncode == 0
    assert "it stays as it is" in done.stderr
    assert (bare.root / "pyproject.toml").read_text() == before
    assert (bare.root / "greenroom.mk").read_text() == "mine:\n"
    assert (bare.root / "Makefile").read_text() == makefile


def test_variables_that_are_set_are_left_alone(bare: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """`environment_defaults` sets what is not set; `environment` sets it in any case."""
    service(bare)
    bare.write(
        "pyproject.toml",
        """
        [tool.greenroom]
        app = "shop.main:app"
        metadata = "shop.models:Base.metadata"
        environment_defaults = { ONE = "default", TWO = "default" }
        environment = { THREE = "set" }
        """,
    )
    monkeypatch.setenv("ONE", "given")
    monkeypatch.setenv("THREE", "given")
    bare.passes(
        """
        import os

        def test_it(client):
            assert (os.environ["ONE"], os.environ["TWO"], os.environ["THREE"]) == ("given", "default", "set")
        """
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"uv.lock": ""}, "uv add --dev 'greenroom[embedded]'"),
        ({"poetry.lock": ""}, "poetry add --group dev 'greenroom[embedded]'"),
        ({"pdm.lock": ""}, "pdm add --dev 'greenroom[embedded]'"),
        (
            {"requirements.txt": "fastapi\n"},
            "pip install 'greenroom[embedded]', and add it to the requirements",
        ),
    ],
)
def test_package_managers(
    bare: Project, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], said: str
) -> None:
    """Init says how greenroom is added where the package manager is missing; where a lock is too old, it does not run it."""
    service(bare)
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    for name, content in files.items():
        bare.write(name, content)
    monkeypatch.setenv("PATH", "")
    done = bare.command("init", "--yes", "--no-try")
    assert said in done.stderr
    if "uv.lock" in files:
        bare.write("uv.lock", '[[package]]\nname = "sqlalchemy"\nversion = "1.4.54"\n')
        done = bare.command("init", "--yes", "--no-try")
        assert "greenroom would move what is locked: sqlalchemy 1.4.54 (greenroom needs 2.0.4)" in done.stderr
    bare.write(
        "pyproject.toml", '[project]\nname = "shop"\n\n[dependency-groups]\ndev = ["greenroom[embedded]"]\n'
    )
    assert said not in bare.command("init", "--yes", "--no-try").stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("", False),
        ('core = "ctrace"', True),
        ('core = "ctrace"\nconcurrency = ["greenlet", "thread"]', False),
        ('plugins = ["greenroom.coverage"]', False),
    ],
)
def test_coverage_that_loses_lines(bare: Project, settings: str, said: bool) -> None:
    """Where coverage is measured, with settings that lose lines after awaited queries, init says what to add."""
    service(bare)
    table = f"[tool.coverage.run]\n{settings}\n" if settings else ""
    bare.write("pyproject.toml", f'[project]\nname = "shop"\n{table}')
    done = bare.command("init", "--yes", "--no-add", "--no-try")
    assert ('add to [tool.coverage.run]: plugins = ["greenroom.coverage"]' in done.stderr) == said


def test_nothing_to_go_by(bare: Project) -> None:
    """A folder without an application, or without anything that says where the schema comes from, is an error with its rule."""
    done = bare.command("init", "--yes")
    assert done.returncode == 2
    assert "No ASGI application was found" in done.stderr
    bare.write("main.py", "from fastapi import FastAPI\n\napp = FastAPI()\n")
    done = bare.command("init", "--yes")
    assert done.returncode == 2
    assert "says where the schema comes from" in done.stderr


def test_schema_for_editors(bare: Project) -> None:
    """The JSON schema that editors load is the one that the settings have now, with a word on each of them."""
    done = bare.command("init", "--schema")
    assert json.loads(done.stdout) == json.loads((ROOT / "docs" / "pyproject.schema.json").read_text())
    greenroom = json.loads(done.stdout)["properties"]["tool"]["properties"]["greenroom"]
    assert greenroom["properties"]["connect"]["enum"] == ["tcp", "socket"]
    assert all(each["description"] for each in greenroom["properties"].values())


def test_fixtures_with_names_of_greenrooms(bare: Project) -> None:
    """Fixtures of the suite that have a name of greenroom's are told, with what a new test does about it."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare)
    bare.write(
        "tests/conftest.py",
        """
        import pytest
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def client(): ...

        @pytest.fixture(name="session", scope="session")
        def fixture_session(): ...

        def engine(): ...
        """,
    )
    said = bare.command("init", "--dry-run").stderr
    assert "client (tests/conftest.py:5), session (tests/conftest.py:8)" in said
    assert "from greenroom.plugin.fixtures import client, session" in said


def test_asynchronous_tests(bare: Project) -> None:
    """Where there are some, greenroom runs them; those of `unittest` have a loop of their own."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare)
    bare.write(
        "tests/test_async.py",
        """
        import unittest

        class TestOwn(unittest.IsolatedAsyncioTestCase):
            async def test_own(self): ...
        """,
    )
    assert "async_tests" not in bare.command("init", "--dry-run", "--no-add").stdout
    bare.write(
        "tests/test_more.py",
        "async def helper(): ...\nasync def test_one(run): ...\nasync def test_two(): ...\n",
    )
    assert written(bare)["async_tests"] is True
    assert "# tests/test_more.py:2 and 1 more" in (bare.root / "pyproject.toml").read_text()
    bare.passes("async def test_it(): ...")


def test_extensions(bare: Project) -> None:
    """Those that migrations create, also in a schema, and those that models use; nothing that is only told of in prose."""
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    service(bare)
    bare.write("shop/notes.py", '"""Tables are made before we create extension objects."""\n')
    bare.write("shop/more.py", "from sqlalchemy.dialects.postgresql import CITEXT, JSONB\n")
    migrations(bare)
    bare.replace(
        "migrations/versions/one.py",
        "def upgrade():",
        "def upgrade():\n"
        "    op.execute('CREATE SCHEMA IF NOT EXISTS tools')\n"
        "    op.execute('CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA tools')\n"
        "    op.execute('create extension hstore')",
    )
    found = written(bare)
    assert set(found["extensions"]) == {"tools.uuid-ossp", "hstore", "citext"}
    bare.passes(
        """
        from sqlalchemy import text

        def test_it(session):
            assert session.scalar(text("SELECT tools.uuid_generate_v4() IS NOT NULL"))
        """
    )


def test_extensions_of_another_wheel(bare: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the wheel lacks adds the extra that brings it, with the project's package manager; declared, nothing is said."""
    service(bare)
    bare.write("uv.lock", "")
    bare.write("tables.sql", "CREATE EXTENSION pgcrypto;\nCREATE TABLE one (id int);\n")
    monkeypatch.setenv("PATH", "")
    said = "uv add --dev 'greenroom[embedded,extensions]'"
    for declared, expected in (("", True), ("[embedded]", True), ("[embedded,extensions]", False)):
        bare.write("pyproject.toml", f'[dependency-groups]\ndev = ["greenroom{declared}"]\n')
        assert (said in bare.command("init", "--yes", "--no-try").stderr) == expected, declared
    bare.write(
        "pyproject.toml",
        '[tool.poetry.group.dev.dependencies]\ngreenroom = {version = "*", extras = ["embedded", "extensions"]}\n',
    )
    assert said not in bare.command("init", "--yes", "--no-try").stderr


def test_extensions_of_an_image(bare: Project) -> None:
    """A project with a test stack gets the image that has what no PostgreSQL of this machine has."""
    service(bare)
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    bare.write("compose/test.yaml", "services: {}\n")
    bare.write("tables.sql", "CREATE EXTENSION timescaledb;\nCREATE TABLE one (id int);\n")
    assert written(bare, "--no-try")["image"] == "timescale/timescaledb:latest-pg18"
