"""Each signal that ends a process, or a group of them, ends the run within seconds, and with it all that the run has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.greenroom.conftest import Project, runs

SECONDS = 30
"""For what takes one or two."""

MAKE = f"test:\n\t{sys.executable} -m greenroom test -q\n\nup:\n\t{sys.executable} -m greenroom up\n"

PYTEST = [sys.executable, "-m", "pytest", "-q"]
TEST = [sys.executable, "-m", "greenroom", "test", "-q"]

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process that its parent has died"
)


def until(is_so: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def begun(project: Project, command: list[str], *, background: bool = False) -> subprocess.Popen[str]:
    """A run in a session of its own whose test, or migration, is in the middle.

    Args:
        project: The project.
        command: What runs it.
        background: Start it as a script starts what it puts into its background, with SIGINT and SIGQUIT ignored.
    """
    wait = "import pathlib, time\n\n{}pathlib.Path('here').touch()\n    time.sleep(60)\n"
    if "up" in command:
        project.replace("pyproject.toml", "seed =", "schema_command = 'python waits.py'\nseed =")
        project.write("waits.py", wait.format("if True:\n    "))
    else:
        project.write("tests/test_it.py", wait.format("def test_it(session):\n    "))
    project.write("Makefile", MAKE)

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)

    run = subprocess.Popen(
        command,
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=ignore if background else None,  # noqa: PLW1509 - as a shell does it
    )
    until(
        lambda: (project.root / "here").exists() or run.poll() is not None,
        "its test does not begin",
    )
    assert run.poll() is None, run.communicate()[0]
    return run


def tell(run: subprocess.Popen[str], number: signal.Signals, *, group: bool) -> None:
    """Send a signal to a run, or to its whole group."""
    if group:
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)


def ends(run: subprocess.Popen[str], started: list[psutil.Process], runtime: Path) -> None:
    """Check that a run ends, that its exit code says so, and that nothing of it is left."""
    output, _ = run.communicate(timeout=SECONDS)
    assert run.returncode != 0, output
    until(lambda: not any(runs(each.pid) for each in started), f"{started} go on: {output}")
    until(lambda: not list(runtime.iterdir()), f"left: {list(runtime.rglob('*'))[:5]}: {output}")


def started_by(run: subprocess.Popen[str], runtime: Path) -> list[psutil.Process]:
    """The processes of a run, its server among them."""
    postmasters = [int(file.read_text().split()[0]) for file in runtime.rglob("postmaster.pid")]
    assert len(postmasters) == 1
    return [psutil.Process(postmasters[0]), *psutil.Process(run.pid).children(recursive=True)]


@pytest.mark.parametrize("group", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM])
def test_pytest(embedded_project: Project, runtime: Path, number: signal.Signals, group: bool) -> None:
    """A closed terminal, SIGQUIT and SIGTERM end pytest like Ctrl-C, and its server."""
    run = begun(embedded_project, PYTEST)
    started = started_by(run, runtime)
    tell(run, number, group=group)
    ends(run, started, runtime)
    assert run.returncode == 2


def test_pytest_with_workers(embedded_project: Project, runtime: Path) -> None:
    """A closed terminal ends the workers as well."""
    run = begun(embedded_project, [*PYTEST, "-n", "2"])
    started = started_by(run, runtime)
    tell(run, signal.SIGHUP, group=True)
    ends(run, started, runtime)


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGINT, False),
        (signal.SIGINT, True),
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGHUP, False),
        (signal.SIGHUP, True),
        (signal.SIGQUIT, False),
        (signal.SIGQUIT, True),
        pytest.param(signal.SIGKILL, False, marks=linux),
        pytest.param(signal.SIGKILL, True, marks=linux),
    ],
)
def test_command(embedded_project: Project, runtime: Path, number: signal.Signals, group: bool) -> None:
    """`greenroom test` passes on what it is told, and takes pytest along when it is killed."""
    run = begun(embedded_project, TEST)
    started = started_by(run, runtime)
    tell(run, number, group=group)
    ends(run, started, runtime)


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGTERM, False),
        (signal.SIGTERM, True),
        (signal.SIGINT, True),
        (signal.SIGHUP, True),
        (signal.SIGQUIT, True),
        pytest.param(signal.SIGKILL, False, marks=linux),
        pytest.param(signal.SIGKILL, True, marks=linux),
    ],
)
def test_make(embedded_project: Project, runtime: Path, number: signal.Signals, group: bool) -> None:
    """To make alone, or its whole group: greenroom ends with it, and so does the rest."""
    run = begun(embedded_project, ["make", "test"])
    started = started_by(run, runtime)
    tell(run, number, group=group)
    ends(run, started, runtime)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("target", ["test", "up"])
def test_background(embedded_project: Project, runtime: Path, number: signal.Signals, target: str) -> None:
    """In a script's background, where SIGINT and SIGQUIT are ignored, they end a run all the same if they are sent to it."""
    run = begun(embedded_project, ["make", target], background=True)
    started = started_by(run, runtime)
    tell(run, number, group=True)
    ends(run, started, runtime)


def test_nohup(embedded_project: Project, runtime: Path) -> None:
    """What nohup has started goes on when the terminal is closed."""
    run = begun(embedded_project, ["nohup", *TEST])
    tell(run, signal.SIGHUP, group=True)
    with pytest.raises(subprocess.TimeoutExpired):
        run.wait(1)
    started = started_by(run, runtime)
    tell(run, signal.SIGTERM, group=False)
    ends(run, started, runtime)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_up(embedded_project: Project, runtime: Path, number: signal.Signals) -> None:
    """`greenroom up` that is ended while it migrates takes the server along that it has started."""
    run = begun(embedded_project, [sys.executable, "-m", "greenroom", "up"])
    started = started_by(run, runtime)
    tell(run, number, group=False)
    ends(run, started, runtime)


def test_up_again(embedded_project: Project, runtime: Path) -> None:
    """A server that was there before stays, when another `up` is ended."""
    assert embedded_project.greenroom("up").returncode == 0
    run = begun(embedded_project, [sys.executable, "-m", "greenroom", "up"])
    run.terminate()
    assert run.wait(SECONDS) != 0
    assert "already running" in run.communicate()[0]
    assert "running: " not in embedded_project.greenroom("status").stderr
    assert '"running": true' in embedded_project.greenroom("status", "--json").stdout


def test_program(project: Project) -> None:
    """A program that `greenroom exec` runs is told as well, and takes its own time to end."""
    project.write(
        "ends.py",
        """
        import pathlib, signal, sys, time

        signal.signal(signal.SIGHUP, lambda *_: sys.exit(7))
        pathlib.Path("here").touch()
        time.sleep(60)
        """,
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "greenroom", "exec", "--", sys.executable, "ends.py"], cwd=project.root
    )
    until((project.root / "here").exists, "it does not begin")
    run.send_signal(signal.SIGHUP)
    assert run.wait(SECONDS) == 7
