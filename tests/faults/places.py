"""Paths, umasks, links, disks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from greenroom import runtime
from tests.faults.battery import Fault, Place, expect

RUNTIMES: Final = ["a space", 'a"quote', "it's", "dollar$HOME", "a`id`", "a+b", "a\\b", "100%20", "ü"]
REFUSED: Final = {"a,b": "must be a path without a ','", "a:b": "must be a path without a ':'"}
CHECKOUTS: Final = ["a space", 'a"quote', "it's", "dollar$HOME", "a`id`", "a,b", "ü"]
UMASKS: Final = (0o000, 0o022, 0o027, 0o077)
LINKED: Final = ("start.lock", "postgres.log", "checkout", "address.json", "programs.json")


def faults() -> Iterator[Fault]:
    """All of them."""
    for name in RUNTIMES:
        yield Fault("paths", f"runtime folder {name!r}", partial(_runtime, name))
    for name, said in REFUSED.items():
        yield Fault("paths", f"runtime folder {name!r}", partial(_refused, name, said))
    for name in CHECKOUTS:
        yield Fault("paths", f"checkout {name!r}", partial(_checkout, name))
    yield Fault("paths", "runtime folder that is a file", _file)
    yield Fault("paths", "ASCII locale, ü in the checkout", _ascii)
    yield Fault("paths", "a neighbour's file that cannot be decoded", _neighbour)
    for mask in UMASKS:
        yield Fault("umasks", f"{mask:03o}", partial(_umask, mask))
    for name in LINKED:
        for how in ("symlink", "link"):
            yield Fault("users and links", f"{how} in the place of {name}", partial(_linked, name, how))
    yield Fault("users and links", "link in the place of the user's folder", _user_folder)
    if os.geteuid() == 0:
        yield Fault("users and links", "what root's server may write to", _owners)
        yield Fault("users and links", "folder that root's server cannot pass through", _closed)
        for size in (8, 40, 60):
            yield Fault("disks", f"{size} MiB for a server", partial(_small, size))
        yield Fault("disks", "full in the middle of a run", _full)


def _green(place: Place) -> None:
    place.run("up")
    expect(place.run("psql", "-Atc", "SELECT 6 * 7").strip() == "42", "psql does not answer")
    place.run("test", "-q")
    place.run("down")


def _runtime(name: str, place: Place) -> None:
    place.runtime = place.runtime / name
    place.environ["GREENROOM_RUNTIME_DIR"] = str(place.runtime)
    _green(place)
    place.nothing_left()


def _refused(name: str, said: str, place: Place) -> None:
    place.environ["GREENROOM_RUNTIME_DIR"] = str(place.runtime / name)
    for command in ("up", "test", "down"):
        expect(said in place.run(command, code=None), f"{command} does not say {said}")
    place.nothing_left()


def _checkout(name: str, place: Place) -> None:
    place.root = place.root.rename(place.folder / name)
    place.run("ci")
    expect((place.root / "reports/junit.xml").is_file(), "junit.xml is somewhere else")
    place.nothing_left()


def _file(place: Place) -> None:
    (place.runtime / "file").touch()
    place.environ["GREENROOM_RUNTIME_DIR"] = str(place.runtime / "file")
    for command in ("up", "down", "status"):
        expect("must be a folder" in place.run(command, code=2), f"{command} does not say so")


def _ascii(place: Place) -> None:
    place.root = place.root.rename(place.folder / "ü")
    place.environ |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    place.run("ci")
    _green(place)
    place.nothing_left()


def _neighbour(place: Place) -> None:
    other = place.runtime / f"greenroom-{os.geteuid()}/other-12345678/up"
    other.mkdir(parents=True)
    (other / "checkout").write_bytes(b"/nowhere/\xff")
    (other / "seen-in").write_bytes(runtime.file_system())
    _green(place)
    place.nothing_left()


def _umask(mask: int, place: Place) -> None:
    place.environ["GREENROOM_RUNTIME_DIR"] = str(place.runtime / "a/b")
    words = [
        "sh",
        "-c",
        f'umask {mask:03o}; for each in up "test -q" down; do "$0" -m greenroom $each || exit; done',
    ]
    run = place.start([*words, sys.executable])
    expect(run.wait(60) == 0, place.said.read_text(errors="replace")[-300:])
    shutil.rmtree(place.runtime / "a")
    place.nothing_left()


def _linked(name: str, how: str, place: Place) -> None:
    place.run("up")
    secret = place.folder / "secret"
    secret.write_text("the secret")
    path = place.kept(name)
    path.rename(path.with_name("moved"))
    getattr(os, how)(secret, path)
    for command in ("logs", "up"):
        expect("the secret" not in place.run(command, code=None), f"{command} prints it")
    expect(secret.read_text() == "the secret", "it is written to")
    path.unlink(missing_ok=True)
    path.with_name("moved").rename(path)
    place.run("down")
    expect(secret.read_text() == "the secret", "it is written to")
    place.nothing_left()


def _user_folder(place: Place) -> None:
    link = place.runtime / f"greenroom-{os.geteuid()}"
    link.symlink_to(place.folder)
    expect("Found: a link." in place.run("up", code=2), "it is not called a link")
    link.unlink()
    place.nothing_left()


def _owners(place: Place) -> None:
    place.run("up")
    server = place.server().uids().real
    theirs = {path.name for path in place.kept(".").iterdir() if path.stat().st_uid == server}
    expect(theirs == {"data", "postgres.log"}, f"its own are {theirs}")
    expect(place.kept(".").stat().st_uid == 0, "the folder is not root's")
    place.run("down")
    place.nothing_left()


def _closed(place: Place) -> None:
    place.runtime.chmod(0o700)
    expect(f"pass through {place.runtime}" in place.run("up", code=2), "it does not say which")
    place.run("down")
    place.nothing_left()


def _mounted(place: Place, size: int) -> Path:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", place.runtime],
        capture_output=True,
        check=False,
    )
    expect(done.returncode == 0, "tmpfs cannot be mounted here")
    return place.runtime


def _small(size: int, place: Place) -> None:
    folder = _mounted(place, size)
    try:
        said = place.run("up", code=None)
        if "ready: " not in said:
            expect(
                "No space left on device" in said or "its data is full" in said,
                f"the cause is not told: {said[-200:]}",
            )
        place.run("down")
        place.nothing_left()
    finally:
        place.end()  # while its processes can still be found by their folder
        subprocess.run(["umount", "--lazy", folder], check=True)


FILLS: Final = """\
import os
from sqlalchemy import text

def test_it(session):
    try:
        with open(os.environ["GREENROOM_RUNTIME_DIR"] + "/full", "wb") as file:
            while True:
                file.write(bytes(65536))
    except OSError:
        pass
    session.execute(text("SELECT pg_logical_emit_message(false, 'x', repeat('x', 40000000))"))
"""
"""A test that fills the disk of the runtime folder, and then has the server write to its WAL."""


def _full(place: Place) -> None:
    folder = _mounted(place, 75)
    try:
        place.run("up")
        place.write("tests/test_it.py", FILLS)
        expect("the disk with its data is full" in place.run("test", "-q", code=1), "the cause is not told")
        (folder / "full").unlink()
        place.write("tests/test_it.py", "def test_it(session): pass\n")
        place.run("up")
        place.run("test", "-q")
        place.run("down")
        place.nothing_left()
    finally:
        place.end()  # while its processes can still be found by their folder
        subprocess.run(["umount", "--lazy", folder], check=True)
