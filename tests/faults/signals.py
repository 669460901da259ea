"""Signals × moments × processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from tests.faults.battery import GREENROOM, Fault, Place, expect, until

MAKE: Final = (
    f"test:\n\t{sys.executable} -m greenroom test -q -n 0\n\nup:\n\t{sys.executable} -m greenroom up\n"
)

COMMANDS: Final[dict[str, list[str]]] = {
    "pytest": [sys.executable, "-m", "pytest", "-q", "-n", "0"],
    "pytest -n 2": [sys.executable, "-m", "pytest", "-q", "-n", "2"],
    "greenroom test": [*GREENROOM, "test", "-q", "-n", "0"],
    "greenroom ci": [*GREENROOM, "ci", "-n", "0"],
    "greenroom up": [*GREENROOM, "up"],
    "make test": ["make", "test"],
    "make up": ["make", "up"],
}

TEST: Final = (
    "import pathlib, time\n\ndef test_it(session):\n    pathlib.Path('here').touch()\n    time.sleep(120)\n"
)

MIGRATION: Final = "import pathlib, time\n\npathlib.Path('here').touch()\ntime.sleep(120)\n"

STARTS: Final = "while it starts a server"
MIGRATES: Final = "while it migrates"
TESTS: Final = "in a test"

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

UNHEARD: Final = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""What make alone keeps to itself, until its command ends."""


def faults() -> Iterator[Fault]:
    """All of them."""
    for name in ("pytest", "greenroom test", "greenroom ci", "make test"):
        for moment in (STARTS, TESTS):
            for number in (*ENDING, signal.SIGKILL):
                for group in (False, True) if moment == TESTS else (True,):
                    if name.startswith("make") and number in UNHEARD and not group:
                        continue
                    yield _fault("signals", name, moment, number, group=group)
    for number in (*ENDING, signal.SIGKILL):
        yield _fault("signals", "pytest -n 2", TESTS, number, group=True)
    for name in ("greenroom up", "make up"):
        for number in (*ENDING, signal.SIGKILL):
            yield _fault("signals", name, MIGRATES, number, group=True)
    for name in ("greenroom test", "make test", "make up"):
        for number in (signal.SIGINT, signal.SIGQUIT):
            yield _fault(
                "in the background",
                name,
                MIGRATES if "up" in name else TESTS,
                number,
                group=True,
                background=True,
            )


def _fault(
    kind: str, name: str, moment: str, number: signal.Signals, *, group: bool, background: bool = False
) -> Fault:
    whom = "its group" if group else f"{name.split(maxsplit=1)[0]} alone"
    return Fault(
        kind,
        f"{name}, {moment}: {number.name} to {whom}",
        partial(_end, COMMANDS[name], moment, number, group=group, background=background),
    )


def _ignore() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)


def _end(
    command: Sequence[str],
    moment: str,
    number: signal.Signals,
    place: Place,
    *,
    group: bool,
    background: bool,
) -> None:
    place.write("Makefile", MAKE)
    if moment == MIGRATES:
        place.write("waits.py", MIGRATION)
        place.replace("pyproject.toml", "seed =", "schema_command = 'python waits.py'\nseed =")
    else:
        place.write("tests/test_it.py", TEST)
    run = place.start(command, preexec_fn=_ignore if background else None)
    try:
        until(
            lambda: (
                run.poll() is not None
                or (
                    b"initialising" in place.said.read_bytes()
                    if moment == STARTS
                    else (place.root / "here").exists()
                )
            ),
            f"{moment} is not reached",
        )
        expect(run.poll() is None, f"it has ended before: {place.said.read_text(errors='replace')[-300:]}")
        if group:
            os.killpg(run.pid, number)
        else:
            run.send_signal(number)
        until(lambda: run.poll() is not None, f"{command} goes on")
        expect(run.returncode != 0, f"exit code 0: {place.said.read_text(errors='replace')[-300:]}")
    finally:
        run.kill()
        run.wait()
    if number == signal.SIGKILL:
        # Nobody is left to remove a server: the next command does it.
        until(lambda: not place.processes(servers=False), "processes go on")
        place.run("down")
    place.nothing_left()
