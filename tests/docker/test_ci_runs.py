"""`greenroom ci` on Docker: one shot, reports, the exit code, and nothing left, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.conftest import docker
from tests.docker.stacks import Copy, until

pytestmark = pytest.mark.docker

FAILING = "def test_fails(session):\n    session.connection().exec_driver_sql('SELECT nothing')\n"

# Long enough that it is still running when it is interrupted, and ended by nothing else.
LONG = "import time\ndef test_long(session):\n    print('::sleeping', flush=True)\n    time.sleep(300)\n"

ARGUMENTS = ("ci", "--", "tests", "-p", "no:randomly")


@pytest.fixture
def copy(tmp_path: Path, images: str) -> Copy:
    """A checkout in which nothing runs."""
    return Copy(tmp_path / "service", images)


@pytest.fixture(scope="class")
def another_run(tmp_path_factory: pytest.TempPathFactory, images: str) -> Iterator[Copy]:
    """Another checkout, in which a run goes on; it ends with the last test of the class that looks at it."""
    other = Copy(tmp_path_factory.mktemp("another") / "other", images)
    other.write("tests/test_it.py", LONG.replace("300", "3000"))
    run = other.start("test", "--", "tests", "-s")
    try:
        until(run, "::sleeping")
        yield other
    finally:
        os.killpg(run.pid, signal.SIGINT)
        run.communicate(timeout=60)
    assert other.left() == []


class TestOneShot:
    """A run from its beginning to its end."""

    def test_passes(self, copy: Copy) -> None:
        """It builds, starts, migrates, runs, writes the reports as the caller, and leaves nothing."""
        said = copy.done(*ARGUMENTS, "--cov=app", "--cov-fail-under=0", "-n", "2")
        assert "greenroom: engine docker (asked for)" in said.splitlines()
        assert "1 passed" in said
        reports = {path.name for path in (copy.root / "reports").iterdir()} - {".lock"}
        assert reports == {"summary.md", "junit.xml", "coverage.xml", "coverage", "coverage.data", "run.json"}
        assert {path.stat().st_uid for path in (copy.root / "reports").rglob("*")} == {os.geteuid()}
        assert "docker" in (copy.root / "reports/summary.md").read_text()
        assert copy.left() == []

    def test_fails(self, copy: Copy) -> None:
        """Failed tests make it 1; the server's log and the failed test's database are among the reports."""
        copy.write("tests/test_it.py", FAILING)
        code, said = copy.run(*ARGUMENTS)
        assert code == 1, said
        assert 'column "nothing" does not exist' in (copy.root / "reports/postgres.log").read_text()
        assert list((copy.root / "reports/kept").iterdir())
        assert copy.left() == []

    def test_sources_are_in_the_image(self, copy: Copy) -> None:
        """The sources are those of the image: what a test writes beside them is gone, and the root is read-only."""
        copy.write(
            "tests/test_it.py",
            "import os, pathlib, pytest\n"
            "def test_it():\n"
            "    assert pathlib.Path(__file__) == pathlib.Path('/src/tests/test_it.py')\n"
            "    with pytest.raises(OSError, match='Read-only'):\n"
            "        open('/src/written', 'w')\n",
        )
        copy.done(*ARGUMENTS)

    def test_shards(self, copy: Copy) -> None:
        """Shards have their reports apart, and merge into one."""
        copy.write("tests/test_it.py", "".join(f"def test_{number}(): pass\n" for number in range(5)))
        copy.write("tests/durations.json", "{}")
        for shard in ("1/2", "2/2"):
            copy.done("ci", "--shard", shard, "--", "tests", "--cov=app")
        code, said = copy.run("report")
        assert (copy.root / "reports/junit.xml").read_text().count("<testcase") == 5
        assert code == 1  # the threshold, of all together: nothing of the application was run
        assert "coverage" in said.lower()

    def test_no_docker(self, copy: Copy) -> None:
        """It works without Docker, too, and leaves nothing."""
        said = copy.done(*ARGUMENTS, GREENROOM_ENGINE="embedded")
        assert "1 passed" in said
        assert copy.left() == []


class TestAtOnce:
    """Two runs at the same time."""

    def test_in_one_checkout(self, copy: Copy) -> None:
        """The same command twice in one checkout: both pass, and the reports are of one of them."""
        runs = [copy.start(*ARGUMENTS) for _ in range(2)]
        said = [run.communicate(timeout=240)[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], said
        assert {path.name for path in (copy.root / "reports").iterdir()} >= {"junit.xml", "summary.md"}
        assert copy.left() == []

    def test_in_two_checkouts(self, copy: Copy, tmp_path: Path, images: str) -> None:
        """Two checkouts of the same name: both pass."""
        (tmp_path / "other").mkdir()
        other = Copy(tmp_path / "other" / copy.root.name, images)
        runs = [each.start(*ARGUMENTS) for each in (copy, other)]
        said = [run.communicate(timeout=240)[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0], said
        assert copy.left() == other.left() == []


MOMENTS = [
    ("at once", "engine docker"),
    ("while it builds", "building the image of this run"),
    ("while Postgres starts", "starting postgres"),
    ("while pytest starts", "test session starts"),
    ("in a test", "::sleeping"),
]


class TestInterrupted:
    """A run that is ended, at five moments."""

    @pytest.mark.parametrize(("moment", "mark"), MOMENTS)
    def test_ctrl_c(self, copy: Copy, moment: str, mark: str) -> None:
        """After Ctrl-C nothing is left, and the exit code is not 0."""
        copy.write("tests/test_it.py", LONG)
        run = copy.start(*ARGUMENTS, "-s")
        until(run, mark)
        os.killpg(run.pid, signal.SIGINT)
        said, _ = run.communicate(timeout=60)
        assert run.returncode in (2, 130), (moment, said)
        assert copy.left() == [], said
        assert not list((copy.root / "reports").glob(".run*"))

    def test_sigterm(self, copy: Copy) -> None:
        """A CI job that is cancelled ends as with Ctrl-C, and pytest tells what it has."""
        copy.write("tests/test_it.py", LONG)
        run = copy.start(*ARGUMENTS, "-s")
        until(run, "::sleeping")
        run.terminate()
        said, _ = run.communicate(timeout=60)
        assert run.returncode == 2, said
        assert "KeyboardInterrupt" in said
        assert copy.left() == []

    @pytest.mark.parametrize(("moment", "mark"), MOMENTS)
    @pytest.mark.xdist_group("killed")
    def test_killed(self, copy: Copy, another_run: Copy, moment: str, mark: str) -> None:
        """What a killed run left is removed by the next command of any checkout, and nothing that is in use."""
        copy.write("tests/test_it.py", LONG)
        run = copy.start(*ARGUMENTS, "-s")
        until(run, mark)
        run.kill()
        run.wait()
        assert run.stdout is not None
        run.stdout.close()
        # Whoever Compose was told by has gone; it may be about to make something still.
        finish()
        # Another sweep, of a test beside this one, may just be looking at the same.
        for _ in range(3):
            copy.run("down")
            if not copy.left():
                break
        assert copy.left() == [], moment
        assert len(another_run.left()) >= 3  # two containers and a volume

    def test_checkout_that_is_gone(self, copy: Copy, tmp_path: Path, images: str) -> None:
        """The stack of a checkout that was deleted is removed by the next command of another."""
        copy.done("up")
        shutil.rmtree(copy.root)
        other = Copy(tmp_path / "other", images)
        other.run("down")
        assert copy.left() == []


def finish() -> None:
    """Wait until no docker command of a killed run goes on, other than the one that waits for its tests to end."""
    end = time.monotonic() + 60
    while left := [words for words in orphans() if " run " not in words]:
        assert time.monotonic() < end, left
        time.sleep(0.05)  # until they are looked at again


def orphans() -> list[str]:
    """The docker commands whose parent has gone."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if words.startswith("docker ") and parent == 1:
            found.append(words)
    return found


def test_containers_name_their_owner(copy: Copy) -> None:
    """Each container and volume bears the checkout, so that it can be found and told apart."""
    copy.done("up")
    try:
        for kind in ("container", "volume"):
            listed = docker(kind, "ls", "--quiet", f"--filter=label=greenroom.checkout={copy.root}")
            assert len(listed.split()) == 1
    finally:
        copy.done("down")
