"""Whole runs: in parallel, killed, interrupted, ten at once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from greenroom import runtime
from greenroom.database.admin import Admin
from tests.greenroom.conftest import Project, runs

THREE_TESTS = """
    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_insert(client, number):
        assert client.post("/customers/a").json() == {"id": 1}
"""


def databases(project: Project) -> list[str]:
    """The names of the databases that runs of the project have on the outer run's server."""
    with Admin(make_url(os.environ["GREENROOM_SERVER_URL"])) as admin:
        own = runtime.identity(project.root)
        return [
            database.name
            for database in admin.databases()
            if database.kind == "run" and database.checkout == own
        ]


def test_settings_of_pytest_elsewhere(project: Project) -> None:
    """With pytest's own settings in a folder of the project, as in tests/pytest.ini, the project's configuration counts."""
    project.write("tests/pytest.ini", "[pytest]\naddopts = -p no:randomly\n")
    result = project.passes("""
        def test_it(client):
            assert client.post("/customers/a").json() == {"id": 1}
        """)
    result.stdout.fnmatch_lines(["rootdir: */tests"])
    project.pytest("tests/test_it.py", "-n", "2").assert_outcomes(passed=1)


@pytest.mark.parametrize("border", [".git", "pyproject.toml"])
def test_checkout_inside_of_a_project(project: Project, border: str) -> None:
    """Another checkout or project in a folder of this one is not this one."""
    project.write(f"inner/{border}", "")
    project.write("inner/pytest.ini", "[pytest]\n")
    project.write("inner/test_it.py", "import os\ndef test_it(): assert 'GREENROOM_RUN' not in os.environ\n")
    result = project.pytest("inner/test_it.py")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("greenroom: *")


def test_parallel(project: Project) -> None:
    """With `-n 2`, each worker has a database of its own, cloned from one template, and none is left."""
    project.write(
        "tests/test_it.py",
        """
        import os, pytest

        @pytest.mark.parametrize("number", range(20))
        def test_insert(client, number, database_url):
            assert database_url.split("?")[0].endswith("_" + os.environ["PYTEST_XDIST_WORKER"])
            assert client.post("/customers/a").json() == {"id": 1}
        """,
    )
    result = project.pytest("-n", "2")
    result.assert_outcomes(passed=20)
    result.stdout.fnmatch_lines(
        ["greenroom: database ready in * s, application started in * s; 20 rewinds in * s, median * ms"]
    )
    assert databases(project) == []
    again = project.pytest("-n", "0")
    again.stdout.fnmatch_lines(
        ["greenroom: database ready in * s, application started in * s; 20 rewinds in * s, median * ms"]
    )
    assert "migrating" not in again.stdout.str() + again.stderr.str()


LOOK = """
    import os, time
    from pathlib import Path

    def is_there(seconds):
        from greenroom import config
        from greenroom.database.admin import Admin
        from greenroom.servers.embedded import Embedded

        name = os.environ["DATABASE_URL"].rpartition("/")[2]
        end = time.monotonic() + seconds
        with Admin(Embedded.for_checkout(config.find(Path.cwd())).admin) as admin:
            while not (found := name in [each.name for each in admin.databases()]) and time.monotonic() < end:
                time.sleep(0.02)
        return found

    def note(found):
        Path(f"{os.environ['PYTEST_XDIST_WORKER']}.txt").write_text(str(found))
"""


def test_clone_ahead(embedded_project: Project) -> None:
    """Where the server is up and has the template, a worker's database is cloned while modules are imported, but not for `-m unit`."""
    project = embedded_project
    project.write(
        "tests/test_it.py",
        """
        import pytest

        @pytest.mark.unit
        @pytest.mark.parametrize("number", range(4))
        def test_unit(number): pass

        @pytest.mark.parametrize("number", range(4))
        def test_it(client, number):
            assert client.post("/customers/a").json() == {"id": 1}
        """,
    )
    assert project.command("up").returncode == 0
    workers = [project.root / f"gw{number}.txt" for number in range(2)]

    look = textwrap.dedent(LOOK)
    project.write("conftest.py", f"{look}\nif 'PYTEST_XDIST_WORKER' in os.environ: note(is_there(60))\n")
    project.pytest("-n", "2").assert_outcomes(passed=8)
    assert [each.read_text() for each in workers] == ["True", "True"]

    # It would be there by then.
    at_end = "def pytest_sessionfinish():\n    if 'PYTEST_XDIST_WORKER' in os.environ: note(is_there(0.5))\n"
    project.write("conftest.py", f"{look}\n{at_end}")
    project.pytest("-n", "2", "-m", "unit").assert_outcomes(passed=4)
    assert [each.read_text() for each in workers] == ["False", "False"]
    project.pytest("-n", "2", "-k", "unit").assert_outcomes(passed=4)
    assert [each.read_text() for each in workers] == ["True", "True"]


def test_garbage(project: Project) -> None:
    """The collector passes over what was there before the project, and finds what the project leaves; without greenroom, all is as ever."""
    project.write(
        "tests/test_it.py",
        """
        import gc, weakref
        import shop.main

        class Circle:
            def __init__(self):
                self.own = self

        def test_it():
            assert gc.get_freeze_count() > 10_000
            assert any(each is shop.main.engine for each in gc.get_objects())
            circle = weakref.ref(Circle())
            gc.collect()
            assert circle() is None
        """,
    )
    # In processes of their own: the one that the others are forked from has told the collector so, too.
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_it.py"]
    first = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout
    project.write("pyproject.toml", "")
    project.write("tests/test_it.py", "import gc\ndef test_it(): assert gc.get_freeze_count() == 0\n")
    second = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stdout


def test_eight_workers(project: Project) -> None:
    """`-n 8` on a server of the default size: eight databases, one template, nothing left."""
    project.write(
        "tests/test_it.py",
        """
        import pytest

        @pytest.mark.parametrize("number", range(80))
        def test_insert(client, session, number):
            assert client.post("/customers/a").json() == {"id": 1}
        """,
    )
    project.pytest("-n", "8").assert_outcomes(passed=80)
    assert databases(project) == []


@pytest.mark.parametrize("death", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGSEGV)"])
def test_crashed_worker(project: Project, death: str) -> None:
    """A worker that dies fails its test; the one in its place has a database of its own, and nothing is left behind."""
    project.write(
        "tests/test_it.py",
        f"""
        import os, signal
        import pytest

        @pytest.mark.parametrize("number", range(12))
        def test_insert(client, session, number):
            assert client.post("/customers/a").json() == {{"id": 1}}
            if number == 5:
                {death}
        """,
    )
    result = project.pytest("-n", "2", "-p", "no:faulthandler")
    result.assert_outcomes(passed=11, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw*' crashed while running *test_insert[[]5]*"])
    # The dead worker's database is swept by the next run, at the latest.
    end = time.monotonic() + 20
    while databases(project) and time.monotonic() < end:
        project.pytest("-k", "0").assert_outcomes(passed=2, deselected=10)
    assert databases(project) == []


@pytest.mark.parametrize("kind", ["project", "embedded_project"])
def test_several_runs_in_one_process(kind: str, request: pytest.FixtureRequest) -> None:
    """pytest.main() again and again in one interpreter: the application is imported once, and each run's database is there."""
    project = request.getfixturevalue(kind)
    project.write("tests/test_it.py", THREE_TESTS)
    project.write(
        "again.py",
        """
        import os
        import pytest

        before = dict(os.environ)
        for _ in range(3):
            assert pytest.main(["-q", "-p", "no:cacheprovider"]) == 0
            changed = {name for name in before.keys() | os.environ if before.get(name) != os.environ.get(name)}
            assert changed <= {"PYTEST_VERSION", "PYTEST_CURRENT_TEST"}, changed
        """,
    )
    done = subprocess.run(
        [sys.executable, "again.py"],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("6 passed") == 3


@pytest.mark.parametrize(
    "arguments", [["--collect-only"], ["--fixtures"], ["--markers"], ["--setup-plan"], ["--help"]]
)
def test_no_server_for_a_look(embedded_project: Project, runtime: Path, arguments: list[str]) -> None:
    """What runs no test starts no server, and leaves no folder of one."""
    embedded_project.write("tests/test_it.py", THREE_TESTS)
    result = embedded_project.pytest(*arguments)
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    assert list(runtime.rglob("data")) == []
    assert list(runtime.rglob("postgres.log")) == []
    assert list(runtime.iterdir()) == []


def test_no_connection_for_a_look(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs no test, and a run of unit tests, does not connect to the server that the URL names; the first other test does."""
    project.write(
        "tests/test_it.py",
        """
        import pytest

        @pytest.mark.unit
        def test_without(): pass

        def test_with(session): pass
        """,
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"postgresql://postgres@127.0.0.1:{listening.getsockname()[1]}/postgres"
        monkeypatch.setenv("GREENROOM_SERVER_URL", url)
        for look in (
            ["--collect-only"],
            ["--fixtures"],
            ["--setup-plan"],
            ["-m", "unit"],
            ["-m", "unit", "-n2"],
        ):
            result = project.pytest("-q", *look)
            assert result.ret == 0, result.stdout.str() + result.stderr.str()
        listening.settimeout(0)
        with pytest.raises(BlockingIOError):
            listening.accept()
        listening.settimeout(30)
        with ThreadPoolExecutor() as pool:
            run = pool.submit(project.pytest, "-q")
            listening.accept()[0].close()
            # A driver may try again, without encryption: then nobody is there any more.
            listening.close()
            assert run.result().ret == 1


def test_failed_ones_again(project: Project) -> None:
    """`-x`, `--lf` and a random order are what they are elsewhere: each test finds the template's state."""
    project.replace("pyproject.toml", '"-p", "no:randomly", "-p", "no:cacheprovider"', '"-p", "randomly"')
    project.write(
        "tests/test_it.py",
        """
        import pathlib
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_insert(client, number):
            assert client.post("/customers/a").json() == {"id": 1}
            assert number != 3 or pathlib.Path("mended").exists()
        """,
    )
    assert project.pytest("-x").ret == 1
    project.pytest("-p", "no:randomly").assert_outcomes(passed=5, failed=1)
    (project.root / "mended").touch()
    project.pytest("--lf").assert_outcomes(passed=1, deselected=0)
    project.pytest("-p", "no:xdist").assert_outcomes(passed=6)
    assert databases(project) == []


def test_second_run_migrates_nothing(project: Project) -> None:
    """A second run with the same models migrates nothing; an edit to them is noticed."""
    project.write("shop/more.py", "# this project's own hash\n")
    project.write("tests/test_it.py", THREE_TESTS)
    said = [project.pytest().stderr.str() for _ in range(2)]
    project.write("shop/more.py", "# another one\n")
    said.append(project.pytest().stderr.str())
    assert ["migrating a new template" in text for text in said] == [True, False, True]


def test_database_is_dropped_after_failures(project: Project) -> None:
    """A run with failing tests leaves no database."""
    project.write("tests/test_it.py", "def test_it(session): assert False")
    project.pytest().assert_outcomes(failed=1)
    assert databases(project) == []


def waiting(project: Project, before: str = "") -> subprocess.Popen[str]:
    """A pytest whose test is in the middle of something, and has done something before."""
    project.write(
        "tests/test_it.py",
        f"""
        import pathlib, time

        def test_long(client, session):
            client.post("/customers/a")
            {textwrap.indent(textwrap.dedent(before), " " * 12).strip()}
            pathlib.Path("here").touch()
            time.sleep(60)
        """,
    )
    started = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 30
    while not (project.root / "here").exists():
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.02)
    return started


def kill(run: subprocess.Popen[str]) -> None:
    """End a run as the system's memory killer would."""
    with run:
        run.kill()


def test_killed_run_on_a_shared_server(project: Project) -> None:
    """A run that is killed leaves its database; the next run drops it, and leaves the database of a live run alone."""
    alive = waiting(project)
    try:
        (live,) = databases(project)
        (project.root / "here").unlink()
        kill(waiting(project))
        assert len(databases(project)) == 2
        project.write("tests/test_it.py", THREE_TESTS)
        # The server sees that a connection is gone a moment after its process is.
        end = time.monotonic() + 20
        while databases(project) != [live] and time.monotonic() < end:
            project.pytest().assert_outcomes(passed=6)
        assert databases(project) == [live]
    finally:
        os.killpg(alive.pid, signal.SIGINT)
        output, _ = alive.communicate(timeout=20)
    assert alive.returncode == 2, output
    assert databases(project) == []


def test_killed_run_with_a_prepared_transaction(project: Project) -> None:
    """What a run that was killed has prepared and not committed keeps no other run from dropping its database."""
    kill(
        waiting(
            project,
            before="""
            from sqlalchemy import text
            session.execute(text("INSERT INTO customers (name) VALUES ('b')"))
            session.execute(text("PREPARE TRANSACTION 'left behind'"))
            """,
        )
    )
    assert len(databases(project)) == 1
    project.write("tests/test_it.py", THREE_TESTS)
    # The server sees that a connection is gone a moment after its process is.
    end = time.monotonic() + 20
    while databases(project) and time.monotonic() < end:
        project.pytest().assert_outcomes(passed=6)
    assert databases(project) == []


def test_template_in_use(project: Project, server_url: str) -> None:
    """As long as a run lives, its template is neither made again nor dropped for newer ones: it may clone it again."""
    alive = waiting(project)
    try:
        used = project.template()
        forced = project.greenroom("migrate", "--force")
        assert forced.returncode == 2
        assert f"The template {used} is in use by a run" in forced.stderr
        for number in range(5):
            project.write("shop/more.py", f"# {number}\n")
            assert project.greenroom("migrate").returncode == 0
        with psycopg.connect(server_url) as connection:
            assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [used]).fetchone()
    finally:
        os.killpg(alive.pid, signal.SIGINT)
        output, _ = alive.communicate(timeout=20)
    assert alive.returncode == 2, output


def test_killed_run_with_its_own_server(embedded_project: Project, runtime: Path) -> None:
    """A run that is killed leaves its server; the next run removes it, is green, and leaves nothing itself."""
    kill(waiting(embedded_project))
    left = list(runtime.glob("*/*/run-*"))
    assert len(left) == 1
    postmaster = int((left[0] / "data" / "postmaster.pid").read_text().split()[0])
    embedded_project.write("tests/test_it.py", THREE_TESTS)
    embedded_project.pytest().assert_outcomes(passed=6)
    assert list(runtime.iterdir()) == []
    assert not runs(postmaster)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_interrupted_run(embedded_project: Project, runtime: Path, workers: str) -> None:
    """Ctrl-C in the middle of a test ends the run with exit code 2 and leaves no server and no folder."""
    embedded_project.replace("pyproject.toml", "addopts = [", f'addopts = ["-n{workers}", ')
    run = waiting(embedded_project)
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 2, output
    assert list(runtime.iterdir()) == []


def test_ten_runs_at_once(project: Project, tmp_path: Path) -> None:
    """Ten runs at once, of two checkouts and with and without workers: one migrates, and nobody sees another's rows."""
    project.write("shop/more.py", "# yet another hash\n")
    project.write("tests/test_it.py", THREE_TESTS)
    other = tmp_path / "other checkout"
    shutil.copytree(project.root, other, ignore=shutil.ignore_patterns("runpytest*"))
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-n", str(number % 3)],
            cwd=(project.root, other)[number % 2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(10)
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 10, outputs
    assert sum("greenroom: migrated in" in output for output in outputs) == 1, outputs
    assert databases(project) == databases(Project(other, project._pytester)) == []


def test_terminated_run(embedded_project: Project, runtime: Path) -> None:
    """SIGTERM, as `timeout` or a cancelled job sends it, ends the run like Ctrl-C, and leaves no server."""
    run = waiting(embedded_project)
    run.terminate()
    output, _ = run.communicate(timeout=30)
    assert run.returncode == 2, output
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_databases_that_are_not_postgres(project: Project, arguments: tuple[str, ...]) -> None:
    """An application that is led to SQLite is told so once, with the line and the variable, and in each failed test."""
    project.write("tests/conftest.py", "import os\n\nos.environ['DATABASE_URL'] = 'sqlite:///elsewhere.db'\n")
    project.write(
        "tests/test_it.py",
        """
        import os
        from sqlalchemy import create_engine, text

        def test_it(session):
            engine = create_engine(os.environ["DATABASE_URL"])
            with engine.connect() as connection:
                connection.execute(text("CREATE TABLE notes (id int)"))
            engine.dispose()
            assert session.execute(text("SELECT to_regclass('notes')")).scalar()

        def test_another():
            assert not "for another reason"
        """,
    )
    result = project.pytest("tests/test_it.py", *arguments)
    result.assert_outcomes(failed=2)
    assert result.stdout.str().count("greenroom: another database") == 1
    told = (
        "These queries went to SQLite *elsewhere.db, and not to this run's Postgres (tests/test_it.py:6: *connect()*). "
        "Something has set DATABASE_URL to sqlite:…"
    )
    result.stdout.fnmatch_lines(["*greenroom: another database*", f"{told}*", f"greenroom: {told}*"])
    project.replace("pyproject.toml", "seed =", 'other_databases = ["elsewhere.db"]\nseed =')
    (project.root / "elsewhere.db").unlink(missing_ok=True)
    assert "These queries" not in project.pytest("tests/test_it.py", *arguments).stdout.str()
