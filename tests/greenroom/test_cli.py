"""The command line, as a person and as a script use it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from greenroom.servers.instance import program
from tests.greenroom.conftest import ROOT, Project, runs


def test_up_status_down(embedded_project: Project, runtime: Path) -> None:
    """`up` leaves a server running, a run uses it and leaves it alone, `down` removes all that there was."""
    project = embedded_project
    up = project.greenroom("up")
    assert up.returncode == 0, up.stderr
    lines = up.stderr.splitlines()
    assert lines[0].startswith("greenroom: engine embedded")
    assert lines[-1].startswith("greenroom: ready: ")
    assert up.stdout == ""

    again = project.greenroom("up")
    assert "already running" in again.stderr
    assert "migrating" not in again.stderr

    project.write("tests/test_it.py", "def test_it(client): assert client.get('/customers').json() == []")
    run = project.pytest()
    run.assert_outcomes(passed=1)
    assert "starting" not in run.stderr.str()

    facts = json.loads(project.greenroom("status", "--json").stdout)
    assert facts["engine"] == "embedded"
    assert facts["running"] is True
    assert facts["template"]["up_to_date"] is True
    postmaster = int(next(runtime.glob("*/*/up/data/postmaster.pid")).read_text().split()[0])
    folder = next(runtime.glob("*/*/up"))
    port = facts["server"].pop("port")
    assert facts["server"] == {"socket": str(folder / "data"), "host": "127.0.0.1", "pid": postmaster}
    assert (folder / f"data/.s.PGSQL.{port}").exists()
    assert [(database["kind"], database["in_use"]) for database in facts["databases"]] == [
        ("template", False)
    ]
    assert "up to date" in project.greenroom("status").stdout

    down = project.greenroom("down")
    assert down.returncode == 0
    assert "stopped" in down.stderr
    assert list(runtime.iterdir()) == []
    assert not runs(postmaster)
    assert "nothing was running" in project.greenroom("down").stderr
    assert list(runtime.iterdir()) == []


def test_server_that_died(embedded_project: Project, runtime: Path) -> None:
    """After the server's process was killed, `status` says that it does not run, and `up` starts it again."""
    embedded_project.greenroom("up")
    os.kill(int(next(runtime.glob("*/*/up/data/postmaster.pid")).read_text().split()[0]), 9)
    assert "not running" in embedded_project.greenroom("status").stdout
    up = embedded_project.greenroom("up")
    assert up.returncode == 0, up.stderr
    assert embedded_project.greenroom("status", "--json").returncode == 0


def test_server_of_a_checkout_that_is_gone(embedded_project: Project, runtime: Path, tmp_path: Path) -> None:
    """A server whose checkout was deleted is removed by the next run of any checkout of the user."""
    gone = tmp_path / "gone"
    embedded_project.root.rename(gone)
    moved = Project(gone, embedded_project._pytester)
    assert moved.greenroom("up").returncode == 0
    gone.rename(embedded_project.root)
    assert len(list(runtime.glob("*/*/up"))) == 1
    embedded_project.passes("def test_it(session): pass")
    assert list(runtime.iterdir()) == []


def test_url_and_psql(project: Project) -> None:
    """`url` prints one line, the URL of a migrated database for people; `psql` and other programs reach it."""
    try:
        urls = {flag: project.greenroom("url", *flag.split()).stdout for flag in ("", "--sync", "--libpq")}
        assert urls[""].startswith("postgresql+asyncpg://greenroom_app@")
        assert urls["--sync"].startswith("postgresql+psycopg://greenroom_app@")
        assert urls["--libpq"].startswith("postgresql://greenroom_app@")
        assert all(url.count("\n") == 1 for url in urls.values())
        psql = str(program("psql"))
        count = [psql, urls["--libpq"].strip(), "-Atc", "SELECT count(*) FROM countries"]
        assert subprocess.run(count, capture_output=True, text=True, check=True).stdout == "3\n"
        done = project.greenroom("psql", "--", "-Atc", "SELECT max(code) FROM countries")
        assert done.stdout == "PT\n"
        # What a person does there stays, until the schema changes.
        project.greenroom("psql", "--", "-c", "DELETE FROM countries")
        assert project.greenroom("psql", "--", "-Atc", "SELECT count(*) FROM countries").stdout == "0\n"
        project.replace("seed.sql", "('PT', 'Portugal')", "('PT', 'Portugal'), ('SE', 'Sweden')")
        changed = project.greenroom("psql", "--", "-Atc", "SELECT count(*) FROM countries")
        assert changed.stdout == "4\n"
        assert "the schema has changed" in changed.stderr
    finally:
        dropped = project.greenroom("down").stderr
    # The first template may be that of another project with the same contents, and stays then.
    assert dropped.count("dropped greenroom_") in (2, 3)


def test_exec(project: Project) -> None:
    """`exec` runs a command with a fresh database in its environment, and passes its exit code on."""
    script = "import os, sys; print(os.environ['DATABASE_URL']); sys.exit(7)"
    done = project.greenroom("exec", "--", sys.executable, "-c", script)
    assert done.returncode == 7
    assert re.match(r"postgresql\+asyncpg://greenroom_app@/greenroom_", done.stdout)
    assert project.greenroom("exec", "--", "no-such-program").returncode == 127
    empty = project.greenroom("exec")
    assert empty.returncode == 2
    assert "exec needs a command" in empty.stderr


def test_migrate(project: Project) -> None:
    """`migrate` builds the template once; `--status` names what shapes it, and how it is cloned."""
    project.write("shop/more.py", "# a hash of its own for this test\n")
    try:
        status = project.greenroom("migrate", "--status")
        subjects = [line.split(maxsplit=1)[1] for line in status.stdout.splitlines()[:-1]]
        assert subjects == [
            "format", "server version", "roles", "extensions", "source", "environment",
            "seed.sql", "shop/__init__.py", "shop/main.py", "shop/models.py", "shop/more.py",
        ]  # fmt: skip
        assert status.stdout.splitlines()[-1].endswith("to be built by the next run")
        assert "migrated in" in project.greenroom("migrate").stderr
        assert "up to date" in project.greenroom("migrate").stderr
        *_, state, strategy = project.greenroom("migrate", "--status").stdout.splitlines()
        assert state.endswith("up to date")
        assert strategy.startswith("cloned by ")
    finally:
        project.greenroom("down")


def test_doctor(project: Project) -> None:
    """`doctor` names what is wrong, with what helps, and exits with 1; with nothing wrong, with 0."""
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("[tool.coverage]\nrun.core = 'ctrace'\n")  # the default up to Python 3.13
    done = project.greenroom("doctor")
    assert done.returncode == 1
    assert "lines after an awaited query count as not run" in done.stdout
    assert '[tool.coverage.run] plugins = ["greenroom.coverage"]' in done.stdout
    project.replace("pyproject.toml", "run.core = 'ctrace'", 'run.plugins = ["greenroom.coverage"]')
    done = project.greenroom("doctor", "--json")
    assert done.returncode == 0, done.stdout
    checks = {check["subject"]: check for check in json.loads(done.stdout)}
    assert checks["application"]["found"] == "shop.main:app starts up and shuts down"
    assert checks["coverage"]["outcome"] == "ok"
    assert checks["request"]["found"] == "GET /openapi.json: 200"
    assert checks["commit"]["found"] == "its engine commits to the run's database"
    assert checks["rewind"]["outcome"] == "ok"
    project.write("conftest.py", "import pytest\n@pytest.fixture\ndef client(): ...\n")
    assert "the suite has its own: client (conftest.py:3)" in project.greenroom("doctor").stdout
    project.replace("shop/main.py", "import asyncio\n", "import nowhere\n")
    assert "No module named 'nowhere'" in project.greenroom("doctor").stdout


def test_outside_of_a_project(clean_environment: None, tmp_path: Path) -> None:
    """Outside of a project the message says what is missing, and in which folders it was sought."""
    done = subprocess.run(
        [sys.executable, "-m", "greenroom", "-C", str(tmp_path), "status"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: No pyproject.toml with a [tool.greenroom] table in ")
    assert "→ add [tool.greenroom] with" in done.stderr


def test_server_that_is_needed_and_does_not_run(embedded_project: Project) -> None:
    """Commands that need the checkout's server say how to start it."""
    for command in ("url", "psql", "migrate"):
        done = embedded_project.greenroom(command)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == "→ greenroom up"


def test_arguments_of_pytest(project: Project) -> None:
    """`test` and `ci` pass on what is not theirs as it is typed, without --."""
    project.write("tests/test_it.py", "def test_it(): pass\n\n\ndef test_other(): assert False")
    done = project.greenroom("test", "-x", "-q", "-k", "other or it", "-p", "no:randomly", "tests/test_it.py")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert project.greenroom("test", "-k", "test_it and not other").returncode == 0
    assert project.greenroom("test", "-k", "nothing").returncode == 5
    assert "usage: " in project.greenroom("test", "--", "--help").stdout
    done = project.greenroom("ci", "-k", "other", "--shard", "1/1", "-q")
    assert done.returncode == 1
    assert "shard-1-of-1" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Tests:"),
        (["test"], "Usage: greenroom test [OPTIONS] [ARGUMENTS]..."),
        (["ci"], "--shard I/N"),
        (["exec"], "greenroom exec alembic current"),
        (["app"], "greenroom app logs --follow"),
        (["app", "up"], "Build and start the stack."),
        (["psql"], "TEST is the node id of a failed test"),
    ],
)
def test_help(tmp_path: Path, project: Project, words: list[str], said: str) -> None:
    """Each command explains itself, outside of any project, and does nothing else."""
    done = project.command("-C", str(tmp_path), *words, "--help")
    assert done.returncode == 0
    assert said in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["statsu"], "There is no command 'statsu'.", "did you mean: greenroom status"),
        (["xyzzy"], "There is no command 'xyzzy'.", "greenroom --help"),
        (["status", "--jsn"], "No such option", "greenroom status --help"),
        (["url", "--sync", "--libpq"], "Use either --sync or --libpq, not both.", "greenroom url --help"),
        (["--quiet", "--verbose", "up"], "Use either --quiet or --verbose, not both.", "greenroom --help"),
        (
            ["logs", "--lines", "0"],
            "Invalid value for '--lines': 0 is not in the range x>=1.",
            "greenroom logs --help",
        ),
    ],
)
def test_wrong_call(project: Project, words: list[str], message: str, hint: str) -> None:
    """A call that is wrong is refused in one sentence, with the command that helps, and exit code 2."""
    done = project.command(*words)
    assert done.returncode == 2
    said, helps = done.stderr.splitlines()
    assert said.startswith(f"error: {message}")
    assert helps == f"→ {hint}"


def test_hints_where_make_has_called(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint names greenroom's own commands, and the targets of a Makefile only where that has called."""
    assert project.command("status").stdout.endswith("greenroom up)\n") is False
    monkeypatch.setenv("GREENROOM_ENGINE", "oracle")
    assert project.command("status").stderr.endswith("→ GREENROOM_ENGINE=auto\n")
    monkeypatch.setenv("GREENROOM_HINTS", "make")
    assert project.command("status").stderr.endswith("→ ENGINE=auto\n")


def test_no_compose_file(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project without greenroom's Compose files is told so, and not to start Docker."""
    monkeypatch.setenv("GREENROOM_ENGINE", "docker")
    done = project.command("up")
    assert done.returncode == 2
    assert done.stderr == (
        "error: Engine docker was asked for, but there is no compose/test.yaml.\n"
        "→ greenroom init --compose writes it; or use GREENROOM_ENGINE=embedded\n"
    )
    done = project.command("app", "up")
    assert done.returncode == 2
    assert "There is no compose/app.yaml in " in done.stderr


def test_doctor_without_a_configuration(tmp_path: Path, project: Project) -> None:
    """`doctor` is for a project that is not set up yet, too: it says what is missing, and what there is."""
    done = project.command("-C", str(tmp_path), "doctor", "--json")
    assert done.returncode == 1
    checks = {check["subject"]: check for check in json.loads(done.stdout)}
    assert checks["configuration"]["outcome"] == "wrong"
    assert checks["configuration"]["hint"].startswith("add [tool.greenroom] with")
    assert checks["engine embedded"]["outcome"] == "ok"


def test_how_much_is_said(project: Project) -> None:
    """`--quiet` leaves progress out, and `--verbose` adds each program that is run."""
    try:
        assert project.greenroom("--quiet", "up").stderr == ""
        assert project.greenroom("-v", "exec", "true").stderr.splitlines()[-1] == "greenroom: running true"
    finally:
        project.greenroom("down")


@pytest.mark.parametrize(
    ("set_", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour(
    project: Project, monkeypatch: pytest.MonkeyPatch, set_: dict[str, str], coloured: bool
) -> None:
    """Colour is for terminals; FORCE_COLOR asks for it elsewhere, and NO_COLOR forbids it everywhere."""
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    assert ("\033[" in project.command("nothing").stderr) is coloured


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(project: Project, shell: str) -> None:
    """The completion of each shell is printed, and asks greenroom, which knows its commands."""
    done = project.greenroom("completion", shell)
    assert done.returncode == 0
    assert f"_GREENROOM_COMPLETE={shell}_complete" in done.stdout
    environ = os.environ | {
        "_GREENROOM_COMPLETE": "bash_complete",
        "COMP_WORDS": "greenroom st",
        "COMP_CWORD": "1",
    }
    asked = subprocess.run(
        [sys.executable, "-m", "greenroom"], env=environ, capture_output=True, text=True, check=False
    )
    assert asked.stdout == "plain,status\n"


def test_page_of_commands(project: Project) -> None:
    """The page about the command line lists the commands that there are, with those of the application's stack."""
    page = (ROOT / "docs/commands.md").read_text()
    listed = re.findall(r"^\| `greenroom ([a-z]+)`", page, re.MULTILINE)
    said = project.command("--help").stdout
    assert sorted(listed) == sorted(re.findall(r"^  ([a-z]+)  ", said, re.MULTILINE))
    (actions,) = re.findall(r"application's stack: (.*?) \|", page)
    said = project.command("app", "--help").stdout.split("Commands:")[1].split("Examples")[0]
    assert sorted(re.findall(r"`(\w+)`", actions)) == re.findall(r"^  (\w+)  ", said, re.MULTILINE)


EXIT_CODES = [
    ("0", ["completion", "bash"], 0),
    ("1", ["explain", "seed.sql"], 1),
    ("1", ["doctor"], 1),
    ("1", ["test", "-k", "fails"], 1),
    ("2", ["migrate", "--nothing"], 2),
    ("2", ["psql", "tests/test_it.py::test_passes"], 2),
    ("2", ["test", "interrupts.py"], 2),
    ("3, 4, 5", ["test", "-p", "breaks"], 3),
    ("3, 4, 5", ["test", "--nothing"], 4),
    ("3, 4, 5", ["test", "-k", "nothing"], 5),
    ("127", ["exec", "no-such-program"], 127),
    ("128 and more", ["exec", "sh", "-c", "kill -9 $$"], 137),
    ("any other", ["exec", "sh", "-c", "exit 7"], 7),
]
"""Of each row of the page's table, calls that end with such a code. 130 is below."""


@pytest.mark.parametrize(("row", "words", "code"), EXIT_CODES)
def test_exit_code(project: Project, row: str, words: list[str], code: int) -> None:
    """Each exit code that the page tells of is that of a call."""
    project.write("tests/test_it.py", "def test_fails(): assert False")
    project.write("interrupts.py", "def test_it(): raise KeyboardInterrupt")
    project.write("breaks.py", "def pytest_collection_finish(): raise LookupError")
    assert project.command(*words).returncode == code


def test_exit_code_of_ctrl_c(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is interrupted ends with 130, in one word."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("greenroom.servers.choose", interrupted)
    done = project.command("status")
    assert (done.returncode, done.stderr.strip()) == (130, "error: interrupted")


def test_page_of_exit_codes() -> None:
    """Each row of the page's table is provoked above."""
    table = (ROOT / "docs/commands.md").read_text().split("## Exit codes")[1]
    rows = re.findall(r"^\| ([^|]+?) \| ", table, re.MULTILINE)
    assert set(rows) - {"Code", "---"} == {row for row, _, _ in EXIT_CODES} | {"130"}
