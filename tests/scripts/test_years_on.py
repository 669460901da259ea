"""scripts/years-on: another clock, for all that a command starts, and nothing else that is different."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.conftest import HERE

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not shutil.which("cc"), reason="it needs Linux and a C compiler"
    ),
    pytest.mark.skipif("YEARS_ON" in os.environ, reason="the clock is years on already"),
]

LATER = 3 * 31557600


def years_on(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with `command`; what it said."""
    return subprocess.run(
        [HERE / "scripts/years-on", *command],
        env={**os.environ, **variables}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def ran(code: str) -> list[float]:
    """The numbers that Python prints three years on."""
    done = years_on("3", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


def test_clock() -> None:
    """It is years later, for a program that is started with an empty environment, too."""
    before = int(subprocess.check_output(["date", "+%s"]))
    own, started = ran(
        "import shutil, subprocess, time\n"
        "print(int(time.time()), flush=True)\n"
        "subprocess.run([shutil.which('date'), '+%s'], env={}, check=True)"
    )
    assert 0 <= own - before - LATER < 60
    assert 0 <= started - own < 60


def test_waits() -> None:
    """A wait takes as long as ever, as a sleep or for a lock."""
    slept, waited = ran(
        "import threading, time\n"
        "began = time.monotonic(); time.sleep(0.2); print(time.monotonic() - began)\n"
        "began = time.monotonic(); threading.Event().wait(0.2); print(time.monotonic() - began)"
    )
    assert 0.2 <= slept < 10
    assert 0.2 <= waited < 10


def test_files(tmp_path: Path) -> None:
    """A file that is written is new, and one that is made a hundred seconds old is that old."""
    file = tmp_path / "file"
    new, old = ran(
        "import os, pathlib, time\n"
        f"file = pathlib.Path({str(file)!r}); file.touch()\n"
        "print(time.time() - file.stat().st_mtime)\n"
        "os.utime(file, (time.time(), time.time() - 100))\n"
        "print(time.time() - file.stat().st_mtime)"
    )
    assert abs(new) < 60
    assert 100 <= old < 160


def test_exit_code() -> None:
    """The command's exit code is the script's."""
    assert years_on("3", "sh", "-c", "exit 7").returncode == 7


def test_real_clock(tmp_path: Path) -> None:
    """Where the clock stays the real one, nothing is run: a suite would pass, and say nothing."""
    compiler = tmp_path / "cc"
    compiler.write_text(
        '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nexec cc -shared -o "$2" -x c /dev/null\n'
    )
    compiler.chmod(0o755)
    done = years_on("3", "echo", "ran", CC=str(compiler))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "years-on: error: the clock is still the real one" in done.stderr


@pytest.mark.parametrize("words", [(), ("5",), ("soon", "date"), ("0", "date")])
def test_usage(words: tuple[str, ...]) -> None:
    """Without years and a command it says how it is called."""
    done = years_on(*words)
    assert done.returncode == 1
    assert "Usage: scripts/years-on YEARS COMMAND…" in done.stderr


def test_no_compiler() -> None:
    """Without a compiler it says what to install."""
    done = years_on("5", "date", CC="no-such-compiler")
    assert done.returncode == 1
    assert re.search(r"no C compiler \(no-such-compiler\)\n.*apt install gcc", done.stderr)
