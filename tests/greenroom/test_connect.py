"""The URL that an application gets: every common way of settings takes it, and it leads to this run's server only."""

from __future__ import annotations

import json
import re
import socket
import stat
from pathlib import Path

import psutil
import psycopg
import pytest

from greenroom.servers.address import reserve
from tests.greenroom.conftest import Project

SETTINGS = {
    "PostgresDsn": """
        from pydantic import PostgresDsn
        from pydantic_settings import BaseSettings
        class Settings(BaseSettings):
            database_url: PostgresDsn
        URL = str(Settings().database_url)
    """,
    "PostgresDsn.build": """
        from pydantic import PostgresDsn
        from pydantic_settings import BaseSettings
        class Settings(BaseSettings):
            db_host: str
            db_port: int
            db_user: str
            db_password: str
            db_name: str
        s = Settings()
        URL = str(PostgresDsn.build(
            scheme="postgresql+asyncpg", username=s.db_user, password=s.db_password, host=s.db_host, port=s.db_port,
            path=s.db_name,
        ))
    """,
    "f-string": """
        import os
        e = os.environ
        URL = f"postgresql+asyncpg://{e['DB_USER']}:{e['DB_PASSWORD']}@{e['DB_HOST']}:{e['DB_PORT']}/{e['DB_NAME']}"
    """,
    "URL.create": """
        import os
        from sqlalchemy import URL as U
        e = os.environ
        URL = U.create(
            "postgresql+asyncpg", e["DB_USER"], e["DB_PASSWORD"], e["DB_HOST"], int(e["DB_PORT"]), e["DB_NAME"]
        ).render_as_string(hide_password=False)
    """,
    "make_url and back": """
        import os
        from sqlalchemy import make_url
        URL = str(make_url(os.environ["DATABASE_URL"]).render_as_string(hide_password=False))
    """,
    "scheme replaced": """
        import os
        plain = os.environ["DATABASE_URL"].replace("postgresql+asyncpg://", "postgresql://", 1)
        URL = plain.replace("postgresql://", "postgresql+asyncpg://", 1)
    """,
    "password required": """
        from pydantic import BaseModel, Field, SecretStr
        from pydantic_settings import BaseSettings, SettingsConfigDict
        class Database(BaseModel):
            host: str = Field(min_length=1)
            port: int = Field(gt=0)
            user: str
            password: SecretStr = Field(min_length=8)
            name: str = Field(pattern="^[a-z0-9_]+$")
        class Settings(BaseSettings):
            model_config = SettingsConfigDict(env_nested_delimiter="__")
            db: Database
        d = Settings().db
        URL = f"postgresql+asyncpg://{d.user}:{d.password.get_secret_value()}@{d.host}:{d.port}/{d.name}"
    """,
}
"""Modules that make a URL of what is in the environment, as applications do."""

ENVIRONMENT = """
[tool.greenroom.environment]
DB_HOST = "{host}"
DB_PORT = "{port}"
DB_USER = "{user}"
DB_PASSWORD = "{password}"
DB_NAME = "{database}"
DB__HOST = "{host}"
DB__PORT = "{port}"
DB__USER = "{user}"
DB__PASSWORD = "{password}"
DB__NAME = "{database}"
"""


@pytest.mark.parametrize("form", SETTINGS)
def test_settings(embedded_project: Project, form: str) -> None:
    """An application that makes its URL in this way runs, and writes to the database that the tests read."""
    project = embedded_project
    project.write("shop/settings.py", SETTINGS[form])
    project.replace(
        "shop/main.py", 'create_async_engine(os.environ["DATABASE_URL"])', "create_async_engine(URL)"
    )
    project.replace("shop/main.py", "import os\n", "from shop.settings import URL\n")
    project.replace("pyproject.toml", "\n[tool.pytest", f"\n{ENVIRONMENT}\n[tool.pytest")
    project.passes(
        """
        from shop.models import Customer

        def test_it(client, session):
            assert client.post("/customers/ada").status_code == 201
            assert session.query(Customer).one().name == "ada"
        """
    )


def test_nothing_to_quote(embedded_project: Project) -> None:
    """The URL has nothing that must be quoted: not in a shell, not in an .ini file, where a % is special."""
    embedded_project.greenroom("up")
    url = embedded_project.greenroom("url").stdout.strip()
    assert re.fullmatch(
        r"postgresql\+asyncpg://greenroom_app:[0-9a-f]{32}@127\.0\.0\.1:\d+/greenroom_\w+", url
    )


def test_another_process(embedded_project: Project) -> None:
    """A process that the application starts connects with the same variable, with a driver of its own."""
    embedded_project.passes(
        """
        import subprocess, sys

        PROGRAM = '''
        import os, psycopg
        with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
            connection.execute("INSERT INTO customers (name) VALUES ('ada')")
        '''

        def test_it(client):
            subprocess.run([sys.executable, "-c", PROGRAM], check=True)
            assert client.get("/customers").json() == ["ada"]
        """
    )


def test_socket(embedded_project: Project) -> None:
    """With `connect = "socket"` the application gets the socket, and nothing listens on the loopback."""
    embedded_project.replace(
        "pyproject.toml", 'seed = ["seed.sql"]', 'seed = ["seed.sql"]\nconnect = "socket"'
    )
    embedded_project.greenroom("up")
    assert "?host=" in embedded_project.greenroom("url").stdout
    port = json.loads(embedded_project.greenroom("status", "--json").stdout)["server"]["port"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    embedded_project.passes("def test_it(client): assert client.post('/customers/ada').status_code == 201\n")


def test_who_gets_in(embedded_project: Project) -> None:
    """Over the loopback nobody gets in without the password, and the superuser not at all; the secret is this user's own."""
    embedded_project.greenroom("up")
    url = embedded_project.greenroom("url", "--sync").stdout.strip().replace("+psycopg", "")
    psycopg.connect(url).close()
    wrong = re.sub(r"app:[0-9a-f]+@", "app:0123@", url)
    for refused in (
        wrong,
        wrong.replace("greenroom_app", "postgres"),
        url.replace("greenroom_app", "postgres"),
    ):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(refused)
    server = json.loads(embedded_project.greenroom("status", "--json").stdout)["server"]
    assert stat.S_IMODE(Path(server["socket"]).with_name("address.json").stat().st_mode) == 0o600


def test_other_users_port() -> None:
    """A port that is reserved is nobody else's: neither to be reserved again nor for a program that just takes it."""
    address, keeper = reserve()
    with keeper, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", address.port))
    with reserve()[1] as once, reserve()[1] as again:
        assert once.getsockname() != again.getsockname()


def test_server_that_was_killed(embedded_project: Project) -> None:
    """A kept server that was killed gets another port if its own is taken by now."""
    embedded_project.greenroom("up")
    server = json.loads(embedded_project.greenroom("status", "--json").stdout)["server"]
    process = psutil.Process(server["pid"])
    process.kill()
    psutil.wait_procs([process], timeout=5)
    with socket.create_server(("127.0.0.1", server["port"])):
        assert embedded_project.greenroom("up").returncode == 0
        again = json.loads(embedded_project.greenroom("status", "--json").stdout)["server"]
    assert again["port"] != server["port"]
