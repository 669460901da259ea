"""The command line, as a person and as a script use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from greenroom.servers.instance import program
from tests.greenroom.conftest import Project, runs


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
    assert facts["template"]["state"] == "up to date"
    assert [(database["kind"], database["in_use"]) for database in facts["databases"]] == [
        ("template", False)
    ]
    assert "up to date" in project.greenroom("status").stdout

    postmaster = int(next(runtime.glob("*/*/up/data/postmaster.pid")).read_text().split()[0])
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
    assert done.stdout.startswith("postgresql+asyncpg://greenroom_app@/greenroom_")
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
            "format", "server version", "role", "extensions", "source", "environment",
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
    done = project.greenroom("doctor")
    assert done.returncode == 1
    assert "concurrency lacks greenlet and thread" in done.stdout
    with (project.root / "pyproject.toml").open("a") as file:
        file.write('[tool.coverage.run]\nconcurrency = ["greenlet", "thread"]\ncore = "ctrace"\n')
    done = project.greenroom("doctor", "--json")
    assert done.returncode == 0, done.stdout
    checks = {check["subject"]: check for check in json.loads(done.stdout)}
    assert checks["application"]["found"] == "shop.main:app imports"
    assert checks["coverage"]["outcome"] == "ok"
    project.replace("shop/main.py", "import asyncio\n", "import nowhere\n")
    assert "No module named 'nowhere'" in project.greenroom("doctor").stdout


def test_outside_of_a_project(tmp_path: Path) -> None:
    """Outside of a project the message says what is missing, and in which folders it was sought."""
    done = subprocess.run(
        [sys.executable, "-m", "greenroom", "-C", str(tmp_path), "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: No pyproject.toml with a [tool.greenroom] table in ")
    assert "→ add [tool.greenroom] with" in done.stderr


def test_server_that_is_needed_and_does_not_run(embedded_project: Project) -> None:
    """Commands that need the checkout's server say how to start it."""
    for command in ("url", "psql", "migrate"):
        done = embedded_project.greenroom(command)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "→ make test-up, or: greenroom up"
