"""Environments in which a run could touch what is somebody else's: refused, or not used; never touched.

Each test has a server with a database `production`, and compares all that is there before and after.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

from greenroom.config import Config
from greenroom.errors import GreenroomError
from greenroom.servers import trust
from tests.greenroom import arrangements
from tests.greenroom.conftest import PROJECTS, Project
from tests.greenroom.danger import PASSWORD, Production

MOST: Final = ("up", "psql", "down")
ALL: Final = ("up", "migrate", "psql", "url", "exec -- true", "status", "logs", "doctor", "down")
TESTS: Final = "def test_one(client, session): pass\ndef test_two(client, session): pass\n"


@pytest.fixture(scope="module")
def _production(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """One for all, whose server has greenroom's role and the template of `shop` already."""
    folder = tmp_path_factory.mktemp("first")
    shutil.copytree(PROJECTS / "shop", folder, dirs_exist_ok=True)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    subprocess.run(
        [sys.executable, "-m", "greenroom", "up"],
        cwd=folder,
        env=outer | {"GREENROOM_SERVER_URL": server_url},
        timeout=120,
        check=True,
    )
    with Production(server_url) as production:
        yield production


@pytest.fixture
def setting(
    project: Project, _production: Production, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[arrangements.Setting]:
    """Where a test arranges its danger. What it changes on the server is undone."""
    with contextlib.ExitStack() as undo:
        yield arrangements.Setting(project, _production, monkeypatch, tmp_path, undo)


def commands(setting: arrangements.Setting, names: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
    """Run commands of the command line: all of them as a user does, all at once, but the last one after the others; some here."""
    if names != ALL:
        return [setting.project.command(*name.split(" ")) for name in names]
    with ThreadPoolExecutor(4) as pool:
        *first, last = names
        done = list(pool.map(lambda name: setting.project.greenroom(*name.split(" ")), first))
    return [*done, setting.project.greenroom(*last.split(" "))]


def assert_untouched(before: dict[str, Any], after: dict[str, Any], *, builds: bool) -> None:
    """Nothing has changed. A template of greenroom's may be new if the run got as far as to build one."""
    if builds:
        known = {row[0] for row in before["databases"]}
        new = [row for row in after["databases"] if row[0] not in known]
        assert all(row[1].startswith("greenroom_template_") for row in new)
        after = after | {"databases": [row for row in after["databases"] if row[0] in known]}
    assert before == after


# -- refused: what the server's URL says -----------------------------------------------------------------------------

REMOTE: Final = "*which is not this machine*"
LEADS: Final = "*options that may override other parts of the URL: {}.*"

URLS: Final = {
    "production-like-name": ("postgresql://postgres:hunter2@db.example.com/production", REMOTE),
    "cloud": ("postgresql://postgres:hunter2@prod.abc.eu-west-1.rds.amazonaws.com:5432/postgres", REMOTE),
    "name-that-begins-as-local": ("postgresql://postgres:hunter2@localhost.example.com/postgres", REMOTE),
    "private-address": ("postgresql://postgres:hunter2@10.0.0.7/postgres", REMOTE),
    "link-local-address": ("postgresql://postgres:hunter2@169.254.1.1/postgres", REMOTE),
    "any-address": ("postgresql://postgres:hunter2@0.0.0.0/postgres", REMOTE),
    "ipv6": ("postgresql://postgres:hunter2@[2001:db8::7]:5432/postgres", REMOTE),
    "ipv6-link-local": ("postgresql://postgres:hunter2@[fe80::1%25eth0]/postgres", REMOTE),
    "ipv6-of-ipv4": ("postgresql://postgres:hunter2@[::ffff:10.0.0.7]/postgres", REMOTE),
    "percent-encoded-host": ("postgresql://postgres:hunter2@%31%30.0.0.7/postgres", REMOTE),
    "percent-encoded-option": (
        "postgresql://postgres:hunter2@/postgres?host=%31%30.0.0.7",
        "*'10.0.0.7', which is not*",
    ),
    "list-of-hosts": (
        "postgresql://postgres:hunter2@localhost,10.0.0.7/postgres",
        "*'10.0.0.7', which is not*",
    ),
    "list-of-hosts-in-an-option": (
        "postgresql://postgres:hunter2@/postgres?host={folder},10.0.0.7",
        "*'10.0.0.7', which is not*",
    ),
    "list-of-names-in-an-option": (
        "postgresql://postgres:hunter2@/postgres?host={folder},db.example.com",
        "*'db.example.com', which is not*",
    ),
    "list-of-hosts-and-ports": (
        "postgresql://postgres:hunter2@localhost:5432,10.0.0.7:5432/postgres",
        "*is not a URL.*",
    ),
    "option-overrules-host": (
        "postgresql://postgres:hunter2@localhost/postgres?host=10.0.0.7",
        "*'10.0.0.7', which is not*",
    ),
    "hostaddr-overrules-host": (
        "postgresql://postgres:hunter2@localhost/postgres?hostaddr=10.0.0.7",
        "*'10.0.0.7', which is not*",
    ),
    "hostaddr-that-is-local": (
        "postgresql://postgres:hunter2@/postgres?host={folder}&hostaddr=127.0.0.1",
        LEADS.format("hostaddr"),
    ),
    "two-local-servers": (
        "postgresql://postgres:hunter2@/postgres?host={folder},/tmp",
        "*must name exactly one server*",
    ),
    "host-and-another-host": (
        "postgresql://postgres:hunter2@localhost/postgres?host={folder}",
        "*must name exactly one server*",
    ),
    "password-with-an-at": ("postgresql://postgres:x@hunter2@10.0.0.7/postgres", "*more than one @.*"),
    "password-that-ends-in-an-at": ("postgresql://postgres:hunter2@@10.0.0.7/postgres", "*more than one @.*"),
    "service": ("postgresql://postgres:hunter2@/postgres?service=production", "*names a libpq service*"),
    "servicefile": ("postgresql://postgres@/postgres?host={folder}&servicefile=x", "*names a libpq service*"),
    "dbname-smuggled-in": (
        "postgresql://postgres:hunter2@/postgres?host={folder}&dbname=production",
        LEADS.format("dbname"),
    ),
    "user-smuggled-in": ("postgresql://greenroom@/postgres?host={folder}&user=boss", LEADS.format("user")),
    "password-in-an-option": (
        "postgresql://postgres@/postgres?host={folder}&password=hunter2",
        LEADS.format("password"),
    ),
    "port-in-an-option": ("postgresql://postgres@localhost:1/postgres?port=5432", LEADS.format("port")),
    "options": (
        "postgresql://postgres@/postgres?host={folder}&options=-crole%3Dboss",
        LEADS.format("options"),
    ),
    "target_session_attrs": (
        "postgresql://postgres@/postgres?host={folder}&target_session_attrs=any",
        LEADS.format("target_session_attrs"),
    ),
    "everybodys-template": (
        "postgresql://postgres@/template1?host={folder}",
        "*names the database 'template1'*",
    ),
    "mysql": ("mysql://root:hunter2@localhost/production", "*Found scheme: mysql.*"),
    "sqlite": ("sqlite:////srv/production.db", "*Found scheme: sqlite.*"),
    "no-url": ("hunter2", "*is not a URL.*"),
    "no-port": ("postgresql://postgres:hunter2@localhost:port/postgres", "*is not a URL.*"),
}


@pytest.mark.parametrize(("url", "message"), URLS.values(), ids=URLS)
def test_server_url(tmp_path: Path, url: str, message: str) -> None:
    """A URL that leads to another machine, or may lead elsewhere than it says, is refused; its password is not shown."""
    config = Config(root=tmp_path, app="shop.main:app", metadata=("shop.models:metadata",))
    with pytest.raises(GreenroomError) as refusal:
        trust.admin_url(url.replace("{folder}", "/run/postgresql"), config)
    assert fnmatchcase(refusal.value.message, message)
    assert refusal.value.hint
    # None behind it either, whose text would have the URL.
    assert PASSWORD not in "".join(traceback.format_exception(refusal.value)) + refusal.value.hint


@pytest.mark.parametrize(
    ("name", "told"), [("production-like-name", ALL), ("dbname-smuggled-in", MOST)], ids=["far", "near"]
)
def test_server_url_of_a_run(setting: arrangements.Setting, name: str, told: tuple[str, ...]) -> None:
    """A run and each of the commands refuse such a URL before any connection, also where a server does answer."""
    url, message = URLS[name]
    setting.env(GREENROOM_SERVER_URL=url)
    refused(setting, Danger(message, told, code=4))


# -- refused: what the server, its databases and its roles are -------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Danger:
    """How an environment is refused.

    Attributes:
        message: What is said, as a pattern.
        commands: The commands of the command line that say the same.
        code: pytest's exit code; None where pytest has nothing to do with it.
        builds: A template is built first.
    """

    message: str
    commands: tuple[str, ...] = ("up", "psql")
    code: int | None = 1
    builds: bool = False


def refused(setting: arrangements.Setting, danger: Danger) -> None:
    """A run, and the commands, are refused: what they say, their exit codes, no password, and nothing touched."""
    if not (setting.project.root / "tests/test_it.py").exists():
        setting.project.write("tests/test_it.py", TESTS)
    before = setting.production.state()
    outputs = []
    if danger.code is not None:
        result = setting.project.pytest("--showlocals", "-vv", "-ra")
        outputs.append(result.stdout.str() + result.stderr.str())
        assert result.ret == danger.code, outputs[0]
        assert "passed" not in result.stdout.str()
        (result.stderr if danger.code == 4 else result.stdout).fnmatch_lines([danger.message])
    for done in commands(setting, danger.commands) if danger.commands else ():
        outputs.append(done.stdout + done.stderr)
        # `doctor` tells what it found; the others could not do it.
        assert done.returncode == (1 if "doctor" in done.args else 2), (done.args, outputs[-1])
        pytest.LineMatcher(outputs[-1].splitlines()).fnmatch_lines([danger.message])
    for output in outputs:
        assert PASSWORD not in output
        assert "Traceback" not in output
        assert "INTERNALERROR" not in output
    assert_untouched(before, setting.production.state(), builds=danger.builds)


UNMARKED: Final = "*has a name of greenroom's but not its mark*"
NOT_OURS: Final = "*which is not this run's*"
TABLES: Final = "*'production', which contains tables, so it is in use*"
RESTRICTED: Final = "*psql failed: *restrict*"
DBLINK: Final = f"SELECT dblink_exec('host={{folder}} dbname=production user=boss password={PASSWORD}', 'DELETE FROM customers')"

DANGERS: Final[dict[arrangements.Arrange, Danger]] = {
    arrangements.database_with_tables: Danger(TABLES, ALL),
    arrangements.application_s_own_variable: Danger(TABLES, MOST),
    arrangements.no_superuser: Danger("*must name a superuser*Found: 'boss'*", MOST),
    arrangements.a_standby: Danger("*names a standby*", MOST),
    arrangements.an_old_server: Danger("*PostgreSQL 14 or newer. Found: 13.*", MOST),
    arrangements.a_forwarded_port: Danger("*has the address 93.184.215.14: the port is forwarded*", MOST),
    arrangements.database_with_our_name: Danger(
        UNMARKED, ("up", "migrate", "migrate --force", "psql", "url")
    ),
    arrangements.template_of_somebody_else: Danger(
        UNMARKED, ("up", "migrate", "migrate --force", "psql", "url")
    ),
    arrangements.mark_that_pg_dump_carried: Danger(
        UNMARKED, ("up", "migrate", "migrate --force", "psql", "url")
    ),
    arrangements.mark_of_another_cluster: Danger(
        UNMARKED, ("up", "migrate", "migrate --force", "psql", "url")
    ),
    arrangements.template_renamed_by_hand: Danger(
        UNMARKED, ("up", "migrate", "migrate --force", "psql", "url")
    ),
    arrangements.database_for_people_of_somebody_else: Danger(UNMARKED, ("url", "psql"), code=None),
    arrangements.kept_database_that_connects_elsewhere: Danger(RESTRICTED, ("psql test_it",), code=None),
    arrangements.kept_database_that_runs_a_program: Danger(RESTRICTED, ("psql test_it",), code=None),
    arrangements.kept_database_that_ends_the_restriction: Danger(RESTRICTED, ("psql test_it",), code=None),
    arrangements.role_of_somebody_else: Danger("*has a role 'boss' that greenroom did not make*"),
    arrangements.role_that_is_the_admin_s: Danger("*has a role 'postgres' that greenroom did not make*"),
    arrangements.role_with_a_copied_mark: Danger("*has a role 'copied' that greenroom did not make*"),
    arrangements.role_with_a_power: Danger("*Somebody gave it more: it makes databases, replicates.*"),
    arrangements.role_that_is_a_member: Danger("*Somebody gave it more: it is a member of boss.*"),
    arrangements.role_with_rights_in_production: Danger("*it has rights or objects in production.*"),
    arrangements.runtime_folder_of_somebody_else: Danger(
        "*must be a folder of user *", ("up", "psql", "down"), code=4
    ),
    arrangements.application_with_a_constant: Danger(NOT_OURS, (), builds=True),
    arrangements.application_with_a_dotenv: Danger(NOT_OURS, (), builds=True),
    arrangements.application_with_another_variable: Danger(NOT_OURS, (), builds=True),
    arrangements.engine_with_a_service: Danger(NOT_OURS, (), builds=True),
    arrangements.env_py_that_goes_elsewhere: Danger(NOT_OURS),
}

SEEDS: Final = {
    "connect": (
        arrangements.seed("\\connect production\nDELETE FROM customers;"),
        r'*syntax error at or near "\"*',
    ),
    "drop": (arrangements.seed("DROP DATABASE production"), "*cannot run inside a transaction block*"),
    "rename": (
        arrangements.seed("ALTER DATABASE production RENAME TO x"),
        "*must be owner of database production*",
    ),
    "program": (
        arrangements.seed("COPY countries TO PROGRAM 'dropdb production'"),
        "*permission denied to COPY to or from*",
    ),
    "role": (arrangements.seed("SET ROLE boss"), '*permission denied to set role "boss"*'),
    "dblink": (
        arrangements.seed(DBLINK, 'extensions = ["dblink"]'),
        "*password or GSSAPI delegated credentials required*",
    ),
}


@pytest.mark.parametrize("arrange", DANGERS, ids=[arrange.__name__ for arrange in DANGERS])
def test_refused(setting: arrangements.Setting, arrange: arrangements.Arrange) -> None:
    """Each of these ends a run, and the commands, with a message and without a change to anything."""
    arrange(setting)
    refused(setting, DANGERS[arrange])


@pytest.mark.parametrize(("arrange", "message"), SEEDS.values(), ids=SEEDS)
def test_seed(setting: arrangements.Setting, arrange: arrangements.Arrange, message: str) -> None:
    """SQL of the project that reaches for another database fails, as the role has no right beyond its own."""
    arrange(setting)
    refused(setting, Danger(message, ("up", "psql")))


NOT_USED: Final = (
    arrangements.variables_that_complete_a_url,
    arrangements.variables_that_overrule_a_url,
    arrangements.variables_that_name_a_service,
    arrangements.variables_with_options,
    arrangements.file_of_passwords,
    arrangements.application_s_variable,
    arrangements.server_that_is_not_asked_for,
    arrangements.database_with_our_prefix,
    arrangements.copy_of_a_dead_run_s,
    arrangements.database_that_was_taken_over,
)


@pytest.mark.parametrize("arrange", NOT_USED, ids=[arrange.__name__ for arrange in NOT_USED])
def test_not_used(setting: arrangements.Setting, arrange: arrangements.Arrange) -> None:
    """Beside each of these a run is green, the commands do what they should, and nothing is touched."""
    arrange(setting)
    before = setting.production.state()
    setting.project.passes("""
        def test_it(client):
            assert client.post("/customers/a").status_code == 201
            assert client.get("/customers").json() == ["a"]
        """)
    outputs = []
    where = ("psql", "--", "-Atc", "SELECT current_database() || ' ' || current_user")
    for command in (("up",), ("migrate",), where, ("status",), ("doctor",)):
        call = setting.project.greenroom if command in (("up",), where) else setting.project.command
        done = call(*command)
        outputs.append(done.stdout + done.stderr)
        if command != ("doctor",):  # which finds that this project measures no coverage
            assert done.returncode == 0, outputs[-1]
    assert outputs[2].endswith(" greenroom_app\n")
    if arrange is not arrangements.server_that_is_not_asked_for:
        assert setting.project.greenroom("down").returncode == 0
    assert not any(PASSWORD in output for output in outputs)
    assert_untouched(before, setting.production.state(), builds=False)


def test_password(setting: arrangements.Setting) -> None:
    """The password in the server's URL is printed by no command, and by no traceback, not even with all local variables."""
    setting.env(
        GREENROOM_SERVER_URL="postgresql://postgres:hunter2@/postgres?host={folder}", GREENROOM_TRACEBACK="1"
    )
    # The role's password is derived from the admin's: the other tests find it as it was.
    (mark,) = setting.production.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'greenroom_app'"
    )
    setting.undo.callback(
        setting.production.execute,
        "ALTER ROLE greenroom_app PASSWORD NULL",
        f"COMMENT ON ROLE greenroom_app IS '{mark}'",
    )
    setting.project.write(
        "tests/test_it.py",
        """
        import pytest
        from sqlalchemy import create_engine, text

        def test_sql(client, session, engine, async_session, run):
            run(async_session.execute(text("SELECT nonsense")))

        def test_refused(engine, app):
            create_engine(engine.url.set(database="production")).connect()

        @pytest.mark.fresh_database
        def test_leftover(engine):
            engine.connect().execute(text("LOCK customers"))
        """,
    )
    result = setting.project.pytest("--showlocals", "-vv", "-ra", "--tb=long")
    result.assert_outcomes(failed=2, passed=1, errors=1)
    setting.project.write("seed.sql", "SELECT nonsense")
    outputs = [result.stdout.str(), result.stderr.str()]
    for command in (
        "up",
        "status",
        "status --json",
        "doctor",
        "doctor --json",
        "migrate",
        "psql",
        "logs",
        "down",
    ):
        done = setting.project.greenroom(*command.split(" "))
        outputs += [done.stdout, done.stderr]
    assert "nonsense" in "".join(outputs[2:])
    assert not [output for output in outputs if PASSWORD in output]
