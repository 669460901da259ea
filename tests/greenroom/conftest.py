"""Projects made for a test, and pytest run in them, as a user of greenroom would run it."""

from __future__ import annotations

import compileall
import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psutil
import pytest
from _pytest.pytester import RunResult

from greenroom.cli import main
from greenroom.output import silent
from greenroom.servers.embedded import Embedded, sweep
from greenroom.urls import conninfo
from tests.greenroom import forked

ROOT = Path(__file__).parents[2]

PROJECTS = Path(__file__).parent / "projects"

collect_ignore = ["projects"]
"""Their tests are run from there, and not as tests of this repository."""

OURS = ("GREENROOM_", "PYTEST_", "DATABASE_URL", "COV_", "COVERAGE_", "GITHUB_", "MAKE")
"""How variables begin that the environment of the outer run has, and the inner one must not hear."""

ON_CI = ("CI", "BUILD_NUMBER")
"""By these pytest knows that it runs in CI, where its summary repeats the whole message of each failure."""

COLOURS = ("FORCE_COLOR", "NO_COLOR")
"""What decides about colours, in what greenroom says as well."""


def is_ours(name: str) -> bool:
    """Whether the outer run's environment has this variable for itself."""
    return name.startswith(OURS) or name in (*ON_CI, *COLOURS)


_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that the command line handles."""


class Project:
    """A project in a folder of its own.

    Args:
        root: Its folder.
        pytester: Runs pytest in it.
    """

    def __init__(self, root: Path, pytester: pytest.Pytester) -> None:
        self.root = root
        self._pytester = pytester

    def write(self, path: str, text: str) -> Path:
        """Write a file, its text moved to the left."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"))
        return file

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace a piece of text that is in the file."""
        text = (self.root / path).read_text()
        assert old in text
        (self.root / path).write_text(text.replace(old, new))

    def pytest(self, *arguments: str) -> RunResult:
        """Run pytest in a process of its own (see forked.py)."""
        folder = tempfile.mkdtemp(prefix="runpytest-", dir=self._pytester.path)
        return self._pytester.run(*forked.command("pytest"), f"--basetemp={folder}", *arguments)

    def passes(self, tests: str, *arguments: str) -> RunResult:
        """Run these tests, which all pass."""
        self.write("tests/test_it.py", tests)
        result = self.pytest("tests/test_it.py", *arguments)
        outcomes = result.parseoutcomes()
        assert result.ret == 0, result.stdout.str()
        assert set(outcomes) <= {"passed", "warnings"}, result.stdout.str()
        return result

    def greenroom(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run greenroom's command line."""
        return subprocess.run(
            [*forked.command("greenroom"), *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run greenroom's command line in this process, where it is about what is said and the exit code.

        A process takes half a second to import what it needs. What a command changes in this one is put back, and `psql`
        cannot take its place.
        """
        before, handlers = dict(os.environ), {each: signal.getsignal(each) for each in _HANDLED}
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.root),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("os.execve", side_effect=AssertionError(f"{arguments} was to end in an error")),
        ):
            try:
                code = main(arguments)
            finally:
                os.environ.clear()
                os.environ.update(before)
                for each, handler in handlers.items():
                    signal.signal(each, handler)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def template(self) -> str:
        """The name of the template that the project wants, whether it is there or not."""
        status = self.command("migrate", "--status").stdout
        found = re.search(r"^(\w+): (?:up to date|to be built)", status, re.MULTILINE)
        assert found is not None, status
        return found[1]


def runs(pid: int) -> bool:
    """Whether a process is there and not a zombie, which a container's first process may not clear away."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Greenroom and pytest's plugins are compiled, which takes a quarter off each of some hundred inner runs.

    They are wherever bytecode may be written. Where PYTHONDONTWRITEBYTECODE is set, each process would compile all of them
    again. It stays set for the inner runs: they edit their projects' files quicker than the time in bytecode can tell.
    """
    if not sys.dont_write_bytecode:
        return
    compileall.compile_dir(ROOT / "greenroom", quiet=2)
    folder = tmp_path_factory.mktemp("compiled")
    for name in ("pyproject.toml", "seed.sql", "shop"):
        copy = shutil.copytree if (PROJECTS / "shop" / name).is_dir() else shutil.copy
        copy(PROJECTS / "shop" / name, folder / name)
    kept = {name: value for name, value in os.environ.items() if not is_ours(name)}
    del kept["PYTHONDONTWRITEBYTECODE"]
    (folder / "test_nothing.py").write_text("def test_nothing(): pass\n")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_nothing.py"],
        cwd=folder, env=kept, stdout=subprocess.DEVNULL, timeout=120, check=True,
    )  # fmt: skip


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the outer run in the environment."""
    for name in os.environ:
        if is_ours(name):
            monkeypatch.delenv(name)


def make_runtime_folder(name: str) -> Path:
    """A runtime folder that nobody else uses: in memory where there is memory, and short, for the sockets below it."""
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    folder = base / f"gr-{os.getpid()}-{name}"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def runtime(
    clean_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The runtime folder of the test's own servers."""
    folder = make_runtime_folder(tmp_path_factory.mktemp("x").name)
    monkeypatch.setenv("GREENROOM_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def embedded_project(pytester: pytest.Pytester, runtime: Path) -> Iterator[Project]:
    """A copy of the project `shop`, whose servers are its own."""
    shutil.copytree(PROJECTS / "shop", pytester.path, dirs_exist_ok=True)
    project = Project(pytester.path, pytester)
    yield project
    project.command("down")


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The admin URL of a server that the projects of this process's tests share, so that each need not start one.

    TOOLKIT_SERVER_URL names another one, such as one of another major version.
    """
    if given := os.environ.get("TOOLKIT_SERVER_URL"):
        yield given
        return
    sweep()
    server = Embedded.new(ROOT, listens=False)
    try:
        server.start(silent)
        yield conninfo(server.admin)
    finally:
        server.stop()


@pytest.fixture
def project(
    pytester: pytest.Pytester, clean_environment: None, monkeypatch: pytest.MonkeyPatch, server_url: str
) -> Project:
    """A copy of the project `shop`, which uses the shared server as an external one."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    shutil.copytree(PROJECTS / "shop", pytester.path, dirs_exist_ok=True)
    return Project(pytester.path, pytester)
