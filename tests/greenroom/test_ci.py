"""`greenroom ci` and `greenroom report`: reports, shards, and runs that end badly."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import junitparser
import psutil
import pytest
from coverage import CoverageData

from greenroom import record as records
from greenroom.ci.summary import code_span, of_run
from greenroom.record import Outcome, RunRecord
from tests.greenroom.conftest import Project

COVERAGE = """
[tool.coverage.run]
source = ["shop"]
branch = true
relative_files = true
plugins = ["greenroom.coverage"]
[tool.coverage.report]
fail_under = {fail_under}
"""

PASSING = """
    import pytest

    @pytest.mark.parametrize("number", range(4))
    def test_insert(client, number):
        assert client.post("/customers/a").json() == {"id": 1}
"""

FAILING = """
    import pytest

    @pytest.mark.parametrize("text", ["a|b", "`", "c", "d"])
    def test_fails(client, text):
        client.post("/customers/a")
        assert text == "b", f"{text!r} is no <b>"

    @pytest.fixture
    def broken():
        raise LookupError("no")

    def test_errors(broken):
        pass

    def test_passes(client):
        assert client.get("/customers").json() == []

    @pytest.mark.skip
    def test_skipped():
        pass
"""

OUTCOMES = """
    import pytest

    @pytest.fixture
    def broken():
        yield
        raise LookupError("two")

    def test_twice(broken):
        def inner():
            raise LookupError("one")
        inner()

    def test_with_error(broken):
        pass

    @pytest.mark.xfail
    def test_expected():
        assert False

    class Base:
        def test_inherited(self):
            pass

    class TestHeir(Base):
        pass
"""


def reports(project: Project, folder: str = "reports") -> set[str]:
    """The names of what is in a folder of reports, with all that is hidden but the lock."""
    return {path.name for path in (project.root / folder).iterdir()} - {".lock"}


def cases_in(folder: Path) -> list[str]:
    """The tests in a folder's junit.xml, in the order in which they ran."""
    suites = junitparser.JUnitXml.fromfile(str(folder / "junit.xml"))
    return [f"{case.classname}::{case.name}" for suite in suites for case in suite]


def measure_coverage(project: Project, fail_under: int = 0) -> None:
    """Give the project settings for coverage."""
    with (project.root / "pyproject.toml").open("a") as file:
        file.write(COVERAGE.format(fail_under=fail_under))


@contextmanager
def in_the_middle(project: Project, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run with one test that has passed and one that writes to a pipe and waits for an answer."""
    project.write(
        "tests/test_it.py",
        """
        import os

        def test_first(client):
            assert client.post("/customers/a").json() == {"id": 1}

        def test_second(client):
            client.post("/customers/a")
            os.close(os.open("reached", os.O_WRONLY))
            os.close(os.open("go-on", os.O_RDONLY))
        """,
    )
    for name in ("reached", "go-on"):
        if not (project.root / name).exists():
            os.mkfifo(project.root / name)
    run = subprocess.Popen(
        [sys.executable, "-m", "greenroom", "ci", "--", "tests/test_it.py", *arguments],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_writer(project.root / "reached", run)
        yield run
    finally:
        if run.poll() is None:
            run.terminate()
        run.communicate(timeout=60)


def wait_for_writer(fifo: Path, run: subprocess.Popen[str]) -> None:
    """Wait until the run's test has come to the point where it opens this, or the run has ended without."""
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        poll = select.poll()
        poll.register(descriptor, 0)  # that the other side has hung up is always reported
        end = time.monotonic() + 60
        while not poll.poll(100):
            assert run.poll() is None, run.communicate()[0]
            assert time.monotonic() < end, "the run has not come to its test within 60 s"
    finally:
        os.close(descriptor)


def go_on(project: Project) -> None:
    """Let the waiting test end."""
    (project.root / "go-on").open("w").close()


class TestReports:
    """What a run leaves in reports/."""

    @pytest.mark.parametrize("workers", ["0", "2"])
    def test_passing_run(self, project: Project, workers: str) -> None:
        """A run that passes leaves JUnit's XML, coverage in three forms and a summary, and nothing else."""
        measure_coverage(project, fail_under=50)
        project.write("tests/test_it.py", PASSING)
        done = project.greenroom("ci", "--", "--cov=shop", "-n", workers)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Required test coverage of 50.0% reached" in done.stdout
        assert reports(project) == {
            "junit.xml", "coverage.xml", "coverage", "coverage.data", "run.json", "summary.md",
        }  # fmt: skip
        assert (project.root / "reports/coverage/index.html").is_file()
        assert len(cases_in(project.root / "reports")) == 4
        assert done.stderr.splitlines()[-1].startswith("greenroom: reports are in reports/: summary.md, ")
        lines = (project.root / "reports/summary.md").read_text().splitlines()
        assert lines[0].startswith("### ✅ 4 passed in ")
        assert fnmatchcase(
            lines[2], "Coverage * %, at least 50 % required · Postgres: external (already running)"
        )
        assert not (project.root / ".coverage").exists()

    def test_failing_run(self, project: Project) -> None:
        """A run that fails has pytest's exit code, a table of what failed, and some of the databases."""
        project.write("tests/test_it.py", FAILING)
        project.replace("pyproject.toml", "seed =", "keep_failed = 2\nseed =")
        done = project.greenroom("ci", "--", "-n", "2", "--dist=loadscope")
        assert done.returncode == 1
        assert reports(project) == {"junit.xml", "run.json", "summary.md", "kept"}
        kept = sorted((project.root / "reports/kept").iterdir())
        assert len(kept) == 2
        assert "-- The database of the failed test tests/test_it.py::test_fails[" in kept[0].read_text()
        lines = (project.root / "reports/summary.md").read_text().splitlines()
        assert lines[0].startswith("### ❌ 4 failed, 1 error, 1 passed, 1 skipped in ")
        assert [line for line in lines if line.startswith("| `")] == [
            r"| `tests/test_it.py::test_fails[a\|b]` | `tests/test_it.py:6` | `AssertionError: 'a\|b' is no <b>` |",
            r"| ``tests/test_it.py::test_fails[`]`` | `tests/test_it.py:6` | ``AssertionError: '`' is no <b>`` |",
            r"| `tests/test_it.py::test_fails[c]` | `tests/test_it.py:6` | `AssertionError: 'c' is no <b>` |",
            r"| `tests/test_it.py::test_fails[d]` | `tests/test_it.py:6` | `AssertionError: 'd' is no <b>` |",
            '| `tests/test_it.py::test_errors` | `tests/test_it.py:10` | `failed on setup with "LookupError: no"` |',
        ]

    def test_servers_log(self, embedded_project: Project, runtime: Path) -> None:
        """The log of the run's own server is there if a test failed, and gone with the next run that passes."""
        project = embedded_project
        project.write(
            "tests/test_it.py",
            """
            from sqlalchemy import text

            def test_it(session):
                session.execute(text("SELECT 'this' FROM nowhere"))
            """,
        )
        assert project.command("ci", "--", "-n", "1").returncode == 1
        log = (project.root / "reports/postgres.log").read_text()
        assert "STATEMENT:  SELECT 'this' FROM nowhere" in log
        project.write("tests/test_it.py", "def test_it(session): pass")
        assert project.command("ci").returncode == 0
        assert reports(project) == {"junit.xml", "run.json", "summary.md"}
        assert list(runtime.iterdir()) == []

    @pytest.mark.parametrize(
        ("code", "said", "tests", "conftest"),
        [
            (3, "1 error in *; internal error", "", "def pytest_collection_finish(): raise LookupError"),
            (137, "no results; pytest did not end by itself", "import os; os.kill(os.getpid(), 9)", ""),
        ],
    )
    def test_exit_code(self, project: Project, code: int, said: str, tests: str, conftest: str) -> None:
        """The exit code of pytest comes through, also where pytest did not end in order."""
        project.write("tests/test_it.py", tests)
        project.write("tests/conftest.py", conftest)
        assert project.command("ci", "--", "tests").returncode == code
        heading = (project.root / "reports/summary.md").read_text().splitlines()[0]
        assert fnmatchcase(heading, f"### ❌ {said} (exit code {code})"), heading

    @pytest.mark.parametrize(
        ("code", "outcome", "heading"),
        [
            (0, "passed", "✅ 1 passed in 61 min 1 s"),
            (1, "failed", "❌ 1 failed in 61 min 1 s"),
            (1, "passed", "❌ 1 passed in 61 min 1 s; exit code 1"),
            (2, "error", "❌ 1 error in 61 min 1 s; interrupted (exit code 2)"),
            (3, "error", "❌ 1 error in 61 min 1 s; internal error (exit code 3)"),
            (4, None, "❌ no results; wrong usage (exit code 4)"),
            (5, None, "❌ no results; nothing to run (exit code 5)"),
            (130, None, "❌ no results; pytest did not end by itself (exit code 130)"),
        ],
    )
    def test_heading(self, code: int, outcome: Outcome | None, heading: str) -> None:
        """The first line of the summary says what became of the tests, and what the exit code means beyond that."""
        record = RunRecord(exit_code=code)
        if outcome:
            record = RunRecord(
                exit_code=code,
                seconds=3661.5,
                tests=(records.Test("tests/a.py::test_a", "tests/a.py:1", outcome, 0.1),),
            )
        assert of_run(record, None, shard=None, beside=[]).splitlines()[0] == f"### {heading}"

    @pytest.mark.parametrize("workers", ["0", "2"])
    def test_record(self, project: Project, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
        """The record has each test by its node id, as it ended, with the line of its file, and what was not collected."""
        project.write("tests/test_it.py", OUTCOMES)
        project.write("tests/test_not.py", "import nowhere")
        project.write("tests/test_skipped.py", "import pytest\npytest.skip('no', allow_module_level=True)")
        monkeypatch.setenv("GREENROOM_REPORTS", str(project.root))
        project.pytest("-n", workers, "--continue-on-collection-errors")
        record = RunRecord.load(project.root)
        assert record.seconds is not None
        assert record.seconds > 0
        it = "tests/test_it.py"
        assert sorted((test.id, test.where, test.outcome, test.message) for test in record.tests) == [
            (f"{it}::TestHeir::test_inherited", f"{it}:21", "passed", ""),
            (f"{it}::test_expected", f"{it}:16", "skipped", ""),
            (f"{it}::test_twice", f"{it}:10", "failed", "LookupError: one"),
            (f"{it}::test_twice", f"{it}:6", "error", 'failed on teardown with "LookupError: two"'),
            (f"{it}::test_with_error", f"{it}:6", "error", 'failed on teardown with "LookupError: two"'),
            (
                "tests/test_not.py",
                "tests/test_not.py:1",
                "error",
                "ModuleNotFoundError: No module named 'nowhere'",
            ),
            ("tests/test_skipped.py", "tests/test_skipped.py", "skipped", ""),
        ]

    def test_what_an_earlier_run_left(self, project: Project) -> None:
        """What a run does not leave is not there from an earlier one; what is not greenroom's stays."""
        for path in (
            "kept/a.sql",
            "coverage/index.html",
            "coverage.xml",
            "coverage.data",
            "postgres.log",
            "mine.txt",
        ):
            project.write(f"reports/{path}", "from before")
        project.write("tests/test_it.py", "def test_it(): pass")
        assert project.command("ci").returncode == 0
        assert reports(project) == {"junit.xml", "run.json", "summary.md", "mine.txt"}

    def test_coverage_that_is_too_low(self, project: Project) -> None:
        """Tests that pass, but cover too little, fail the run, and the summary says what it was."""
        measure_coverage(project, fail_under=99)
        project.write("tests/test_it.py", PASSING)
        assert project.command("ci", "--", "--cov=shop").returncode == 1
        lines = (project.root / "reports/summary.md").read_text().splitlines()
        assert fnmatchcase(lines[0], "### ❌ 4 passed in * s; coverage too low")
        assert "at least 99 % required" in lines[2]

    def test_annotations(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """On GitHub Actions, each failed test is marked in its file."""
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
        project.write("tests/test_it.py", "def test_it():\n    assert 1 == 2")
        done = project.greenroom("ci", "--", "-n", "1")
        assert done.returncode == 1
        assert "::error file=tests/test_it.py,line=2::test_it%0A%0Aassert 1 == 2" in done.stderr

    def test_folder_that_cannot_be_written_to(self, project: Project) -> None:
        """A file where reports/ should be is named, and nothing is run."""
        project.write("reports", "a file")
        done = project.command("ci")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"\nerror: Cannot write to {project.root / 'reports'}: Not a directory.\n" in done.stderr

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a_b*c <d>", "`a_b*c <d>`"),
            ("a|b", r"`a\|b`"),
            ("`a` ``b``", "``` `a` ``b`` ```"),
            ("two\n lines", "`two lines`"),
            ("x" * 300, f"`{'x' * 199}…`"),
            ("", ""),
        ],
    )
    def test_text_in_markdown(self, text: str, shown: str) -> None:
        """What comes from a test stands in the summary's tables as it is, in one line."""
        assert code_span(text) == shown


class TestEnds:
    """Runs that are stopped, killed, or not alone."""

    def test_two_runs_at_once(self, project: Project) -> None:
        """A run that ends while another one goes on leaves it alone; then all reports are of the one that ended last."""
        measure_coverage(project)
        project.write(
            "tests/test_other.py", "def test_other(client): assert client.get('/customers').json() == []"
        )
        with in_the_middle(project, "--cov=shop") as run:
            done = project.greenroom("ci", "--", "tests/test_other.py", "--cov=shop")
            assert done.returncode == 0, done.stdout
            first = (project.root / "reports/coverage.data").read_bytes()
            assert cases_in(project.root / "reports") == ["tests.test_other::test_other"]
            assert len(list((project.root / "reports").glob(".run-*"))) == 1
            go_on(project)
            assert run.wait(60) == 0
        assert cases_in(project.root / "reports") == [
            "tests.test_it::test_first",
            "tests.test_it::test_second",
        ]
        assert (project.root / "reports/coverage.data").read_bytes() != first
        assert not list((project.root / "reports").glob(".run-*"))

    @pytest.mark.parametrize(
        ("how", "workers"), [("Ctrl-C", "0"), ("SIGTERM", "0"), ("timeout", "0"), ("timeout", "1")]
    )
    def test_interrupted(self, embedded_project: Project, runtime: Path, how: str, workers: str) -> None:
        """A run that is told to end says so to pytest once, publishes what there is, and leaves nothing behind."""
        with in_the_middle(embedded_project, "-n", workers) as run:
            if how == "Ctrl-C":
                os.killpg(run.pid, signal.SIGINT)
            elif how == "SIGTERM":
                run.terminate()
            else:
                # As coreutils has it: the process first, and then its whole group.
                run.terminate()
                os.killpg(run.pid, signal.SIGTERM)
            output = run.communicate(timeout=60)[0]
        assert run.returncode == 2, output
        assert reports(embedded_project) == {"junit.xml", "run.json", "summary.md"}
        heading = (embedded_project.root / "reports/summary.md").read_text().splitlines()[0]
        # What a worker has just reported may not be known yet.
        passed = "1 passed" if workers == "0" else "*"
        assert fnmatchcase(heading, f"### ❌ {passed} in *; interrupted (exit code 2)"), heading
        assert list(runtime.iterdir()) == []

    def test_killed(self, project: Project) -> None:
        """What a run that was killed has left in reports/ is removed by the next one."""
        with in_the_middle(project) as run:
            (child,) = psutil.Process(run.pid).children()
            run.kill()
            child.kill()
        assert len(list((project.root / "reports").glob(".run-*"))) == 1
        project.write("tests/test_it.py", PASSING)
        assert project.greenroom("ci").returncode == 0
        assert reports(project) == {"junit.xml", "run.json", "summary.md"}

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
    def test_killed_alone(self, embedded_project: Project, runtime: Path) -> None:
        """Where only `greenroom ci` is killed, pytest ends in order, and so does its server."""
        with in_the_middle(embedded_project) as run:
            (child,) = psutil.Process(run.pid).children()
            run.kill()
            psutil.wait_procs([child], timeout=60)
        assert list(runtime.iterdir()) == []


SAME_NAMES = """
    import pytest

    pytestmark = pytest.mark.unit

    @pytest.mark.parametrize("number", range(4))
    def test_it(number):
        pass
"""


@pytest.fixture
def shuffled(project: Project) -> Project:
    """A project of three files with tests of the same names, which run in another order each time."""
    project.replace("pyproject.toml", '"-p", "no:randomly", ', "")
    for letter in "abc":
        project.write(f"tests/test_{letter}.py", SAME_NAMES)
    return project


def shard(project: Project, number: int, count: int, *arguments: str) -> list[str]:
    """Run a shard, which passes. Returns its tests."""
    done = project.greenroom("ci", "--shard", f"{number}/{count}", "--", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return cases_in(project.root / f"reports/shard-{number}-of-{count}")


class TestShards:
    """Parts of a suite."""

    def test_parts(self, shuffled: Project) -> None:
        """However each of them is shuffled, the shards together are the whole suite, and no test is in two."""
        # With these seeds, pytest-split by itself has the same four tests in each shard.
        parts = [
            shard(shuffled, number, 3, f"--randomly-seed={seed}", "-n", workers)
            for number, seed, workers in ((1, 17, "0"), (2, 290, "1"), (3, 4711, "2"))
        ]
        assert [len(part) for part in parts] == [4, 4, 4]
        assert sorted(test for part in parts for test in part) == [
            f"tests.test_{letter}::test_it[{number}]" for letter in "abc" for number in range(4)
        ]

    def test_order(self, shuffled: Project) -> None:
        """Within a shard, the tests run in the order that pytest-randomly gives them."""
        assert shuffled.greenroom("ci", "--", "--randomly-seed=7").returncode == 0
        whole = cases_in(shuffled.root / "reports")
        part = shard(shuffled, 1, 2, "--randomly-seed=7")
        assert part == [test for test in whole if test in part] != sorted(part)

    def test_more_shards_than_tests(self, project: Project) -> None:
        """A shard for which no test is left has passed, and says why it has none."""
        project.write("tests/test_it.py", "def test_it(): pass")
        assert shard(project, 1, 2) == ["tests.test_it::test_it"]
        done = project.greenroom("ci", "--shard", "2/2", "--", "-q")
        assert done.returncode == 0
        assert "shard 2/2 has no tests: there are more shards than tests" in done.stderr
        done = project.greenroom("report")
        assert done.returncode == 0, done.stderr

    def test_durations(self, shuffled: Project) -> None:
        """A whole run that passes records how long each test took, and shards are cut by that."""
        durations = shuffled.root / "tests/durations.json"
        assert shuffled.greenroom("ci", "--store-durations", "--", "-n", "2").returncode == 0
        recorded = json.loads(durations.read_text())
        assert len(recorded) == 12
        assert recorded["tests/test_b.py::test_it[2]"] >= 0.001
        durations.write_text(json.dumps(recorded | {"tests/test_b.py::test_it[2]": 60}))
        assert shard(shuffled, 1, 2) == ["tests.test_b::test_it[2]"]
        assert len(shard(shuffled, 2, 2)) == 11

    def test_durations_of_a_run_that_fails(self, project: Project) -> None:
        """A run that fails records nothing."""
        project.write("tests/test_it.py", "def test_it(): assert False")
        assert project.command("ci", "--store-durations").returncode == 1
        assert not (project.root / "tests/durations.json").exists()

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("{", "Expecting property name"),
            ("", "Expecting value"),
            ("[1, 2]", "it is no object"),
            ('{"tests/test_a.py::test_it[0]": "long"}', "takes 'long', which is no number of seconds"),
            ('{"tests/test_a.py::test_it[0]": NaN}', "takes nan, which is no number of seconds"),
            ("\udcff", "'utf-8' codec can't decode"),
        ],
    )
    def test_broken_durations(self, shuffled: Project, content: str, why: str) -> None:
        """Durations that cannot be read are said, and the shards are cut as if there were none."""
        file = shuffled.write("tests/durations.json", "")
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
        done = shuffled.greenroom("ci", "--shard", "1/2")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "tests/durations.json is not used" in done.stderr
        assert why in done.stderr
        assert len(cases_in(shuffled.root / "reports/shard-1-of-2")) == 6

    @pytest.mark.parametrize("wrong", ["2", "0/2", "3/2", "1/0", "01/2", "1/2/3", "a/b", ""])
    def test_wrong_shard(self, project: Project, wrong: str) -> None:
        """What is no shard is refused with exit code 2 before anything runs, and named."""
        done = project.command("ci", "--shard", wrong, "--", "-q")
        assert done.returncode == 2
        assert done.stderr.startswith(
            f"error: A shard must be I/N with 1 ≤ I ≤ N, such as 2/4. Found: {wrong!r}."
        )
        assert not (project.root / "reports").exists()

    def test_durations_of_a_shard(self, project: Project) -> None:
        """Durations are recorded of the whole suite, not of a shard."""
        done = project.command("ci", "--shard", "1/2", "--store-durations")
        assert done.returncode == 2
        assert "--store-durations needs a whole run" in done.stderr

    @pytest.mark.parametrize(
        ("module", "package", "arguments"),
        [
            ("pytest_split", "pytest-split", ["ci", "--shard", "1/2"]),
            ("junitparser", "junitparser", ["report"]),
            ("coverage", "coverage", ["report"]),
        ],
    )
    def test_missing_package(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        module: str,
        package: str,
        arguments: list[str],
    ) -> None:
        """A package that is not installed is named, with the command that installs it."""
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
        done = project.command(*arguments)
        assert done.returncode == 2
        first, second = done.stderr.splitlines()
        assert first.endswith(f" needs the package {package}, which is not installed.")
        assert second == "→ pip install 'greenroom[ci]'"


def fake_shard(
    project: Project, name: str, *, exit_code: int = 0, data: bool = True, outcome: str = "passed"
) -> Path:
    """The reports of a shard with one test, as a run would leave them."""
    folder = project.root / "reports" / f"shard-{name}"
    folder.mkdir(parents=True)
    case = f'<testcase classname="tests.test_it" name="test_{name}" time="0.5"/>'
    (folder / "junit.xml").write_text(
        f'<testsuites><testsuite name="pytest" time="1.5">{case}</testsuite></testsuites>'
    )
    test = {
        "id": f"tests/test_it.py::test_{name}",
        "where": "tests/test_it.py:1",
        "outcome": outcome,
        "seconds": 0.5,
    }
    record = {
        "engine": "embedded",
        "fail_under": None,
        "exit_code": exit_code,
        "seconds": 1.5,
        "tests": [test],
    }
    (folder / "run.json").write_text(json.dumps(record))
    if data:
        measured = CoverageData(str(folder / "coverage.data"))
        measured.add_lines({"shop/models.py": [1]})
        measured.write()
    return folder


class TestMerging:
    """The reports of all shards, made into those of one run."""

    def test_merged(self, project: Project, tmp_path: Path) -> None:
        """Shards that ran in different folders come to what the whole suite comes to, and the threshold is applied once."""
        measure_coverage(project, fail_under=60)
        project.write("tests/test_it.py", PASSING)
        project.write("tests/test_more.py", "def test_list(client): client.get('/customers')")
        other = Project(tmp_path / "elsewhere", project._pytester)
        shutil.copytree(project.root, other.root)
        whole = project.greenroom("ci", "--", "--cov=shop")
        assert whole.returncode == 0, whole.stdout
        expected = (project.root / "reports/coverage.xml").read_text()

        for number, root in ((1, project), (2, other)):
            done = root.greenroom("ci", "--shard", f"{number}/2", "--", "--cov=shop")
            assert done.returncode == 0, done.stdout
            assert "TOTAL" not in done.stdout
            assert reports(root, f"reports/shard-{number}-of-2") == {
                "junit.xml", "coverage.xml", "coverage.data", "run.json", "summary.md",
            }  # fmt: skip
        shutil.move(other.root / "reports/shard-2-of-2", project.root / "reports")
        shutil.rmtree(other.root)

        done = project.greenroom("report")
        assert done.returncode == 0, done.stderr
        assert "TOTAL" in done.stdout
        assert done.stderr.splitlines()[-1].startswith(
            "greenroom: merged 2 shards into reports/: summary.md, "
        )
        assert reports(project) == {
            "junit.xml", "coverage.xml", "coverage", "coverage.data", "summary.md", "shard-1-of-2", "shard-2-of-2",
        }  # fmt: skip
        assert len(cases_in(project.root / "reports")) == 5
        # All but the time and the folder of the sources.
        merged = (project.root / "reports/coverage.xml").read_text()
        assert re.sub('timestamp="[0-9]+"', "", merged) == re.sub('timestamp="[0-9]+"', "", expected)
        lines = (project.root / "reports/summary.md").read_text().splitlines()
        assert lines[0] == "### ✅ 5 passed in 2 shards"
        assert lines[2].endswith(", at least 60 % required")
        assert lines[6].startswith("| 1/2 | ")
        # The shards' own reports stay, so it can be said again.
        assert project.greenroom("report").returncode == 0

    def test_failures(self, project: Project) -> None:
        """A failed test, a shard that was interrupted and coverage that is too low each fail it, and are named."""
        measure_coverage(project, fail_under=90)
        fake_shard(project, "1-of-3")
        fake_shard(project, "2-of-3", exit_code=2)
        fake_shard(project, "3-of-3", exit_code=1, outcome="failed")
        done = project.command("report")
        assert done.returncode == 1
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert errors[:2] == [
            "error: 1 of 3 tests failed or errored: reports/summary.md",
            "error: shard 2/3 ended with exit code 2",
        ]
        assert re.fullmatch(r"error: the coverage is too low: [0-9.]+ %, at least 90 % required", errors[2])
        assert (project.root / "reports/summary.md").read_text().startswith(
            "### ❌ 1 failed, 2 passed in 3 shards; shard 2/3 ended with exit code 2; the coverage is too low: "
        )  # fmt: skip

    def test_without_coverage(self, project: Project) -> None:
        """Shards that measured no coverage are merged without it."""
        for name in ("1-of-2", "2-of-2"):
            fake_shard(project, name, data=False)
        done = project.command("report")
        assert (done.returncode, done.stdout) == (0, "")
        assert reports(project) == {"junit.xml", "summary.md", "shard-1-of-2", "shard-2-of-2"}

    @pytest.mark.parametrize(
        ("shards", "said"),
        [
            ([], "There are no shards to merge: reports/ contains no folder such as shard-1-of-2."),
            (["1-of-2", "1-of-3"], "must belong to one suite. Found: shard-1-of-2, shard-1-of-3."),
            (["1-of-4", "3-of-4"], "2 of 4 shards are missing in reports/: 2/4, 4/4."),
        ],
    )
    def test_shards_that_are_not_whole(self, project: Project, shards: list[str], said: str) -> None:
        """No shards, shards of two suites, or missing ones are an error that names them, and nothing is written."""
        for name in shards:
            fake_shard(project, name)
        before = reports(project) if shards else set()
        done = project.command("report")
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[0]
        assert done.stderr.splitlines()[1].startswith("→ ")
        assert len(done.stderr.splitlines()) == 2
        assert not shards or reports(project) == before

    @pytest.mark.parametrize(
        ("file", "content", "said"),
        [
            ("junit.xml", None, "Shard 2/2 has no complete reports: There is no junit.xml in "),
            ("junit.xml", "<testsuites><testsu", "shard-2-of-2/junit.xml cannot be read: "),
            ("junit.xml", "<html/>", "shard-2-of-2/junit.xml cannot be read: Invalid format."),
            ("run.json", None, "Shard 2/2 has no complete reports: There is no run.json in "),
            ("run.json", "[", "shard-2-of-2/run.json cannot be read: "),
            ("run.json", "[]", "shard-2-of-2/run.json cannot be read: "),
            ("run.json", "{}", "shard-2-of-2/run.json cannot be read: "),
            (
                "coverage.data",
                None,
                "Only 1 of 2 shards measured coverage. coverage.data is missing in: 2/2.",
            ),
            ("coverage.data", "no data", "The coverage data of shard 2/2 cannot be read: "),
        ],
    )
    def test_broken_shard(self, project: Project, file: str, content: str | None, said: str) -> None:
        """What is missing or broken of a shard is said in one message, and nothing is published."""
        measure_coverage(project)
        fake_shard(project, "1-of-2")
        broken = fake_shard(project, "2-of-2") / file
        if content is None:
            broken.unlink()
        else:
            broken.write_text(content)
        done = project.command("report")
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
        assert reports(project) == {"shard-1-of-2", "shard-2-of-2"}

    def test_sources_that_are_not_here(self, project: Project) -> None:
        """Data about sources of another machine names the setting that makes it independent of the folder."""
        measure_coverage(project)
        data = CoverageData(str(fake_shard(project, "1-of-1", data=False) / "coverage.data"))
        data.add_lines({"/nowhere/shop/main.py": [1]})
        data.write()
        done = project.command("report")
        assert done.returncode == 2
        assert "No source for code: '/nowhere/shop/main.py'" in done.stderr
        assert "relative_files = true" in done.stderr.splitlines()[1]
