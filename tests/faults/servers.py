"""Servers that hang, break or die, locks that are held, and commands at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import psutil

from tests.faults.battery import Fault, Place, expect, until

HOLD: Final = (
    "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, 2); print(1, flush=True); time.sleep({})"
)


def faults() -> Iterator[Fault]:
    """All of them."""
    yield Fault("hung servers", "postmaster with SIGSTOP, then down", partial(_stopped, everything=False))
    yield Fault("hung servers", "all processes with SIGSTOP, then down", partial(_stopped, everything=True))
    yield Fault("hung servers", "postmaster with SIGSTOP, then a run", _stopped_in_a_run)
    yield Fault(
        "hung servers", "postmaster with SIGSTOP in a killed run, then a run elsewhere", _stopped_elsewhere
    )
    for name in ("global/pg_control", "PG_VERSION", "pg_wal", "postgresql.conf", "pg_hba.conf"):
        yield Fault("broken servers", f"{name} broken after a clean stop", partial(_broken, name))
    for name in ("address.json", "programs.json", "checkout"):
        yield Fault("broken servers", f"{name} broken", partial(_garbage, name))
    for number in (signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM, signal.SIGSEGV):
        yield Fault("killed servers", f"postmaster with {number.name}, then up", partial(_killed, number))
    yield Fault("killed servers", "a backend with SIGKILL, then a run", _backend)
    for command in ("up", "down", "test -q"):
        yield Fault("held locks", f"start.lock held for 3 s, {command}", partial(_held, command))
    yield Fault("at once", "three times up and down", partial(_at_once, ["up", "down"] * 3))
    yield Fault("at once", "four times up", partial(_at_once, ["up"] * 4))
    yield Fault(
        "at once", "four runs and a down", partial(_at_once, ["test", "test", "down", "test", "test"])
    )
    yield Fault("reports", "broken durations.json", _durations)
    yield Fault("templates", "a migration that exits 0 half-way", partial(_migration, "raise SystemExit(0)"))
    yield Fault("templates", "a migration that exits 3", partial(_migration, "raise SystemExit(3)"))


def _stopped(place: Place, *, everything: bool) -> None:
    place.run("up")
    server = place.server()
    for each in (server, *(server.children() if everything else ())):
        each.suspend()
    place.run("down")
    place.nothing_left()


def _stopped_in_a_run(place: Place) -> None:
    place.run("up")
    place.server().suspend()
    place.run("test", "-q", code=1)
    place.run("down")
    place.nothing_left()


def _stopped_elsewhere(place: Place) -> None:
    place.write(
        "tests/test_it.py",
        "import pathlib, time\n\ndef test_it(session):\n    pathlib.Path('here').touch()\n    time.sleep(120)\n",
    )
    run = place.start([sys.executable, "-m", "pytest", "-q", "-n", "0"])
    until((place.root / "here").exists, "it does not begin")
    (file,) = place.runtime.glob("*/*/run-*/data/postmaster.pid")
    psutil.Process(int(file.read_text().split()[0])).suspend()
    run.kill()
    run.wait()
    place.write("tests/test_it.py", "def test_it(session): pass\n")
    place.root = place.root.rename(place.folder / "elsewhere")
    place.run("test", "-q")
    place.nothing_left()


def _ended(place: Place, number: signal.Signals) -> None:
    server = place.server()
    server.send_signal(number)
    until(lambda: server not in place.processes(), "the server does not end")


def _broken(name: str, place: Place) -> None:
    place.run("up")
    _ended(place, signal.SIGINT)
    path = place.kept("data") / name
    if path.is_dir():
        path.rename(path.with_name("moved"))
    else:
        path.write_bytes(b"\x00broken\xff")
    expect("cannot be used (" in place.run("up"), "the cause is not told")
    place.run("down")
    place.nothing_left()


def _garbage(name: str, place: Place) -> None:
    place.run("up")
    place.kept(name).write_bytes(b"\x00broken\xff")
    place.run("test", "-q")
    place.run("down")
    place.nothing_left()


def _killed(number: signal.Signals, place: Place) -> None:
    place.run("up")
    _ended(place, number)
    place.run("up")
    place.run("down")
    place.nothing_left()


def _backend(place: Place) -> None:
    place.run("up")
    place.server().children()[-1].kill()
    time.sleep(1)  # the server starts its processes again
    place.run("test", "-q")
    place.run("down")
    place.nothing_left()


def _held(command: str, place: Place) -> None:
    place.run("up")
    lock = place.kept("start.lock")
    if command == "up":
        _ended(place, signal.SIGINT)
    with subprocess.Popen([sys.executable, "-c", HOLD.format(3), lock], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        said = place.run(*command.split())
    if "test" not in command:
        expect(f"waiting for process {holder.pid}" in said, f"it does not say who: {said[-200:]}")
    place.run("down")
    place.nothing_left()


def _at_once(commands: list[str], place: Place) -> None:
    runs: list[tuple[subprocess.Popen[bytes], Callable[[], str]]] = []
    for number, command in enumerate(commands):
        place.said = place.folder / f"said-{number}"
        started = place.start([sys.executable, "-m", "greenroom", *command.split()])
        runs.append((started, partial(place.said.read_text, errors="replace")))
    for (started, said), command in zip(runs, commands, strict=True):
        code = started.wait(100)
        expect("Traceback" not in said(), f"{command} ends in a traceback: {said()[-300:]}")
        if command == "down" or "down" not in commands:
            expect(code == 0, f"{command} ends with {code}: {said()[-300:]}")
    place.run("down")
    place.nothing_left()


def _durations(place: Place) -> None:
    place.write("tests/durations.json", "{")
    expect("durations.json is not used" in place.run("ci", "--shard", "1/1"), "it is not told")
    place.nothing_left()


def _migration(line: str, place: Place) -> None:
    place.replace("pyproject.toml", 'metadata = "shop.models:metadata"', 'alembic = "alembic.ini"')
    place.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
    place.write("migrations/env.py", f"{line}\n")
    place.write("migrations/script.py.mako", "")
    (place.root / "migrations/versions").mkdir()
    for _ in range(2):
        said = place.run("up", code=2)
        expect("exit code" in said and "migrations/env.py:1" in said, f"the cause is not told: {said[-300:]}")
    place.run("down")
    place.nothing_left()
