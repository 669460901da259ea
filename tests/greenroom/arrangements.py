"""What could lead a run to somebody else's database: arrangements for `test_dangerous.py`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenroom import runtime
from tests.greenroom.conftest import Project, make_runtime_folder
from tests.greenroom.danger import PASSWORD, Production, pretender, standby
from tests.greenroom.test_wrong import migrations


@dataclasses.dataclass
class Setting:
    """What an arrangement arranges."""

    project: Project
    production: Production
    monkeypatch: pytest.MonkeyPatch
    tmp_path: Path
    undo: contextlib.ExitStack

    def env(self, **variables: str) -> None:
        """Set environment variables; `{folder}` stands for the folder of the server's socket."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value.replace("{folder}", self.production.folder))

    def configure(self, line: str) -> None:
        """Add a line to [tool.greenroom]."""
        self.project.replace("pyproject.toml", "[tool.greenroom]\n", f"[tool.greenroom]\n{line}\n")

    def execute(self, *statements: str, undo: str) -> Any:
        """Change something on the server until the end of the test."""
        self.undo.callback(self.production.execute, *filter(None, undo.split(";")))
        return self.production.execute(*statements)

    def another_template(self) -> str:
        """Change the project. The name of the template that it wants now."""
        self.project.write("shop/more.py", f"# {self.tmp_path}\n")
        return self.wanted()

    def wanted(self) -> str:
        """The name of the template that the project wants."""
        return self.project.template()

    def database(self, name: str, comment: str = "") -> None:
        """Make a database."""
        self.execute(
            f'CREATE DATABASE "{name}"',
            f"COMMENT ON DATABASE \"{name}\" IS '{comment}'",
            undo=f'ALTER DATABASE "{name}" IS_TEMPLATE false;DROP DATABASE "{name}"',
        )

    def mark(self, name: str) -> dict[str, Any]:
        """What the mark of a database says."""
        row = self.production.execute(
            f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'"
        )
        return dict(json.loads(row[0])["greenroom"])


Arrange = Callable[[Setting], None]


def database_with_tables(setting: Setting) -> None:
    """The server's URL names production itself, on this machine."""
    setting.env(GREENROOM_SERVER_URL=setting.production.at("production"))


def application_s_own_variable(setting: Setting) -> None:
    """The server's URL is taken from the application's variable, which names production."""
    setting.configure('server_url = "DATABASE_URL"')
    setting.env(DATABASE_URL=setting.production.at("production"))


def no_superuser(setting: Setting) -> None:
    """The server's URL names a role with fewer rights."""
    setting.env(GREENROOM_SERVER_URL="postgresql://boss:hunter2@/postgres?host={folder}")


def a_standby(setting: Setting) -> None:
    """The server copies another one."""
    folder = make_runtime_folder("standby")
    setting.undo.callback(shutil.rmtree, folder)
    setting.env(
        GREENROOM_SERVER_URL=setting.undo.enter_context(
            standby(folder / f"greenroom-{os.geteuid()}" / "standby" / "server", setting.monkeypatch)
        )
    )


def an_old_server(setting: Setting) -> None:
    """The server is too old."""
    setting.env(GREENROOM_SERVER_URL=setting.undo.enter_context(pretender(version="13.22")))


def a_forwarded_port(setting: Setting) -> None:
    """A tunnel on localhost leads to a server with a public address."""
    setting.env(GREENROOM_SERVER_URL=setting.undo.enter_context(pretender(address="93.184.215.14")))


def database_with_our_name(setting: Setting) -> None:
    """A database has the name of the template, and a comment of somebody else's."""
    setting.database(setting.another_template(), "a twin of production")


def template_of_somebody_else(setting: Setting) -> None:
    """A database has the name of the template, and looks complete."""
    name = setting.another_template()
    setting.database(name)
    setting.production.execute(f"ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false")


def mark_that_pg_dump_carried(setting: Setting) -> None:
    """A database has the name of the template, and a mark that was made for another oid."""
    mark = setting.mark(setting.wanted())
    name = setting.another_template()
    setting.database(name, json.dumps({"greenroom": mark | {"names": [name]}}))


def mark_of_another_cluster(setting: Setting) -> None:
    """A database has the template's name and mark, and by chance its oid, but pg_dumpall brought it here."""
    mark = setting.mark(setting.wanted())
    name = setting.another_template()
    setting.database(name)
    (oid,) = setting.production.execute(f"SELECT oid::bigint FROM pg_database WHERE datname = '{name}'")
    mark |= {"oid": oid, "names": [name], "cluster": "7000000000000000000"}
    setting.production.execute(f"COMMENT ON DATABASE {name} IS '{json.dumps({'greenroom': mark})}'")


def template_renamed_by_hand(setting: Setting) -> None:
    """A template of greenroom's has been given the name of another."""
    old, new = setting.wanted(), setting.another_template()
    setting.execute(f"ALTER DATABASE {old} RENAME TO {new}", undo=f"ALTER DATABASE {new} RENAME TO {old}")


def database_for_people_of_somebody_else(setting: Setting) -> None:
    """A database has the name of the one that `greenroom psql` opens."""
    setting.database(f"greenroom_{runtime.identity(setting.project.root).replace('-', '_')}")


def kept_database_that_connects_elsewhere(setting: Setting) -> None:
    """A kept database's file goes on in another database."""
    kept(setting, "\\connect production\nDELETE FROM customers;\n")


def kept_database_that_runs_a_program(setting: Setting) -> None:
    """A kept database's file runs a program, in the middle of a line."""
    kept(setting, "SELECT 1 \\! dropdb production\n")


def kept_database_that_ends_the_restriction(setting: Setting) -> None:
    """A kept database's file knows its own key."""
    kept(setting, "\\restrict a\nSELECT 1;\n\\unrestrict a\n\\connect production\nDELETE FROM customers;\n")


def kept(setting: Setting, text: str) -> None:
    """Have the file of a kept database, as if from elsewhere."""
    setting.project.write(".greenroom/kept/test.sql", "-- The database of the failed test test_it\n")
    with (setting.project.root / ".greenroom/kept/test.sql").open("a") as file:
        file.write(text)


def role_of_somebody_else(setting: Setting) -> None:
    """The configured role is somebody's."""
    setting.configure('role = "boss"')


def role_that_is_the_admin_s(setting: Setting) -> None:
    """The configured role is the superuser."""
    setting.configure('role = "postgres"')


def role_with_a_copied_mark(setting: Setting) -> None:
    """The configured role has the mark of another one."""
    (mark,) = setting.production.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'greenroom_app'"
    )
    setting.configure('role = "copied"')
    setting.execute(
        "CREATE ROLE copied LOGIN", f"COMMENT ON ROLE copied IS '{mark}'", undo="DROP ROLE copied"
    )


def role_with_a_power(setting: Setting) -> None:
    """Greenroom's role was given powers."""
    setting.execute(
        "ALTER ROLE greenroom_app CREATEDB REPLICATION",
        undo="ALTER ROLE greenroom_app NOCREATEDB NOREPLICATION",
    )


def role_that_is_a_member(setting: Setting) -> None:
    """Greenroom's role was given those of another one."""
    setting.execute("GRANT boss TO greenroom_app", undo="REVOKE boss FROM greenroom_app")


def role_with_rights_in_production(setting: Setting) -> None:
    """Greenroom's role was given a right on a database."""
    setting.execute(
        "GRANT CREATE ON DATABASE production TO greenroom_app",
        undo="REVOKE CREATE ON DATABASE production FROM greenroom_app",
    )


def runtime_folder_of_somebody_else(setting: Setting) -> None:
    """The folder of the sockets, whose name can be guessed, leads somewhere else."""
    planted = setting.tmp_path / f"greenroom-{os.geteuid()}"
    planted.symlink_to(setting.tmp_path)
    setting.env(GREENROOM_ENGINE="embedded", GREENROOM_RUNTIME_DIR=str(setting.tmp_path))


def application_with_a_constant(setting: Setting) -> None:
    """The application's URL is written into it."""
    elsewhere(
        setting, repr(f"postgresql+asyncpg://boss:{PASSWORD}@/production?host={setting.production.folder}")
    )


def application_with_a_dotenv(setting: Setting) -> None:
    """The application reads a .env file, and prefers it to the environment."""
    url = f"postgresql+asyncpg://boss:{PASSWORD}@/production?host={setting.production.folder}"
    setting.project.write(".env", f"DATABASE_URL={url}\n")
    elsewhere(setting, '__import__("pathlib").Path(".env").read_text().strip().partition("=")[2]')


def application_with_another_variable(setting: Setting) -> None:
    """The application reads another variable."""
    url = f"postgresql+asyncpg://boss:{PASSWORD}@/production?host={setting.production.folder}"
    setting.env(PRODUCTION_URL=url)
    elsewhere(setting, 'os.environ["PRODUCTION_URL"]')


def elsewhere(setting: Setting, url: str) -> None:
    """Have the application take its URL from an expression."""
    setting.project.replace("shop/main.py", 'os.environ["DATABASE_URL"]', url)
    setting.project.write("tests/test_it.py", "def test_it(client): client.post('/customers/a')\n")


def engine_with_a_service(setting: Setting) -> None:
    """An engine has the run's URL, and an option that overrules it."""
    file = setting.project.write(
        "service.conf", f"[production]\nhost={setting.production.folder}\ndbname=production\nuser=boss\n"
    )
    setting.project.write(
        "tests/test_it.py",
        f"""
        from sqlalchemy import create_engine

        def test_it(sync_database_url):
            more = {{"service": "production", "servicefile": {str(file)!r}}}
            create_engine(sync_database_url, connect_args=more).connect()
        """,
    )


def env_py_that_goes_elsewhere(setting: Setting) -> None:
    """The migrations bring their own URL."""
    migrations(setting.project)
    url = f"postgresql+psycopg://boss:{PASSWORD}@/production?host={setting.production.folder}"
    setting.project.write(
        "migrations/env.py",
        f"""
        from alembic import context
        from sqlalchemy import create_engine

        with create_engine({url!r}).connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
        """,
    )


def seed(statement: str, more: str = "") -> Arrange:
    """Have this SQL run after the migrations."""

    def arrange(setting: Setting) -> None:
        setting.project.write("seed.sql", statement.replace("{folder}", setting.production.folder))
        if more:
            setting.configure(more)

    return arrange


# -- not used, and not touched ---------------------------------------------------------------------------------------


def variables_that_complete_a_url(setting: Setting) -> None:
    """The server's URL leaves out what libpq takes from the environment."""
    setting.env(
        GREENROOM_SERVER_URL="postgresql://postgres@?host={folder}",
        PGDATABASE="production",
        PGUSER="boss",
        PGPASSWORD=PASSWORD,
        PGPORT="1",
    )


def variables_that_overrule_a_url(setting: Setting) -> None:
    """The environment names another host, even one that goes before the URL's."""
    setting.env(PGHOST="10.0.0.7", PGHOSTADDR="10.0.0.7", PGTARGETSESSIONATTRS="standby")


def variables_that_name_a_service(setting: Setting) -> None:
    """The environment names a service, whose file names production."""
    file = setting.project.write(
        "service.conf", f"[production]\nhost={setting.production.folder}\ndbname=production\nuser=boss\n"
    )
    setting.env(
        GREENROOM_SERVER_URL="postgresql://postgres@?host={folder}",
        PGSERVICE="production",
        PGSERVICEFILE=str(file),
    )


def variables_with_options(setting: Setting) -> None:
    """The environment makes each session another role's."""
    setting.env(PGOPTIONS="-c role=boss -c search_path=nowhere")


def file_of_passwords(setting: Setting) -> None:
    """A .pgpass has a password for each server."""
    file = setting.project.write("pgpass", f"*:*:*:*:{PASSWORD}\n")
    file.chmod(0o600)
    setting.env(PGPASSFILE=str(file))


def application_s_variable(setting: Setting) -> None:
    """The application's variable names production, in the shell and in a file."""
    url = f"postgresql+asyncpg://boss:{PASSWORD}@/production?host={setting.production.folder}"
    setting.env(DATABASE_URL=url)
    setting.project.write(".env", f"DATABASE_URL={url}\n")


def server_that_is_not_asked_for(setting: Setting) -> None:
    """The server's URL names production, but the engine is another."""
    folder = make_runtime_folder("embedded")
    setting.undo.callback(shutil.rmtree, folder)
    setting.undo.callback(setting.project.greenroom, "down")
    setting.undo.callback(setting.monkeypatch.delenv, "GREENROOM_SERVER_URL")
    setting.env(
        GREENROOM_SERVER_URL=setting.production.at("production"),
        GREENROOM_ENGINE="embedded",
        GREENROOM_RUNTIME_DIR=str(folder),
    )


def database_with_our_prefix(setting: Setting) -> None:
    """A database looks like one that a dead run has left, but for the mark."""
    setting.database("greenroom_0123abcd_main", "has no mark")


def copy_of_a_dead_run_s(setting: Setting) -> None:
    """A database has the name and the mark of a dead run's, but was restored from a dump."""
    name = "greenroom_0123abcd_gw0"
    mark = setting.mark(setting.wanted())
    mark |= {"names": [name], "kind": "run", "checkout": runtime.identity(setting.project.root)}
    setting.database(name, json.dumps({"greenroom": mark}))


def database_that_was_taken_over(setting: Setting) -> None:
    """Somebody has given a database of this checkout's another name, and uses it."""
    setting.another_template()
    setting.project.greenroom("up")
    setting.execute(
        f"ALTER DATABASE {setting.wanted()} IS_TEMPLATE false",
        f"ALTER DATABASE {setting.wanted()} RENAME TO greenroom_production",
        undo="DROP DATABASE greenroom_production",
    )
