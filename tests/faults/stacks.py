"""Signals and deaths of runs on Docker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from greenroom.docker import client
from tests.docker.conftest import docker
from tests.docker.stacks import Copy
from tests.faults.battery import Fault, Place, expect, until
from tests.faults.signals import ENDING

IMAGES: Final = {"offline": "greenroom-offline/"}.get(
    os.environ.get("IMAGES", ""), os.environ.get("IMAGES", "")
)

LONG: Final = (
    "import time\n\ndef test_it(session):\n    print('::sleeping', flush=True)\n    time.sleep(120)\n"
)

STACK: Final = 180.0
"""Seconds for a stack, with its image, to get to the moment."""

STARTS: Final = "starting postgres"
TESTS: Final = "::sleeping"


def why_not() -> str | None:
    """Why there are no faults on Docker, or None if there are."""
    if reason := client.why_not():
        return reason
    return None if IMAGES else "no base images are named: make faults IMAGES=offline"


def faults() -> Iterator[Fault]:
    """All of them."""
    if why_not():
        return
    for moment in (STARTS, TESTS):
        for number in ENDING:
            yield Fault(
                "on Docker",
                f"greenroom test, {moment!r}: {number.name} to its group",
                partial(_end, moment, number, group=True, background=False),
            )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        yield Fault(
            "on Docker",
            f"greenroom test, {TESTS!r}: {number.name} to it alone",
            partial(_end, TESTS, number, group=False, background=False),
        )
    yield Fault(
        "on Docker",
        f"greenroom test in the background, {STARTS!r}: SIGINT to its group",
        partial(_end, STARTS, signal.SIGINT, group=True, background=True),
    )
    yield Fault("on Docker", "docker rm -f of the test container", _removed)


def _end(moment: str, number: signal.Signals, place: Place, *, group: bool, background: bool) -> None:
    copy = Copy(place.folder / "checkout", IMAGES)
    copy.write("tests/test_it.py", LONG)
    place.root, place.environ = copy.root, copy.environ
    words = ["test", "--", "tests", "-p", "no:randomly", "-s"]
    command = ["sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh"] if background else []
    run = place.start([*command, sys.executable, "-m", "greenroom", *words])
    try:
        until(
            lambda: run.poll() is not None or moment in place.said.read_text(errors="replace"),
            f"{moment} is not reached",
            seconds=STACK,
        )
        expect(run.poll() is None, f"it has ended before: {place.said.read_text(errors='replace')[-300:]}")
        if group:
            os.killpg(run.pid, number)
        else:
            run.send_signal(number)
        until(lambda: run.poll() is not None, "it goes on")
        expect(run.returncode != 0, f"exit code 0: {place.said.read_text(errors='replace')[-300:]}")
        if number == signal.SIGKILL:
            _swept(copy)
        expect(not copy.left(), f"left: {copy.left()}")
    finally:
        run.kill()
        run.wait()
        _swept(copy)


def _swept(copy: Copy) -> None:
    """What a killed run has left is removed by the next command, once the client that it had has ended."""
    end = time.monotonic() + 30
    while copy.left() and time.monotonic() < end:
        copy.run("down")


def _removed(place: Place) -> None:
    copy = Copy(place.folder / "checkout", IMAGES)
    copy.write("tests/test_it.py", LONG)
    place.root, place.environ = copy.root, copy.environ
    run = place.start([sys.executable, "-m", "greenroom", "test", "--", "tests", "-s"])
    try:
        until(
            lambda: run.poll() is not None or TESTS in place.said.read_text(errors="replace"),
            "no test begins",
        )
        names = docker("ps", "--format", "{{.Names}}").split()
        docker("rm", "-f", *[name for name in names if copy.identity in name and "-tests-" in name])
        until(lambda: run.poll() is not None, "it goes on")
        said = place.said.read_text(errors="replace")
        expect(run.returncode != 0, "exit code 0")
        expect("The container of the command was killed" in said, f"the cause is not told: {said[-300:]}")
        expect(not copy.left(), f"left: {copy.left()}")
    finally:
        run.kill()
        run.wait()
        _swept(copy)
