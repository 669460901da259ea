"""compose/serve.py: the development server, and what becomes of it when its process dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.conftest import HERE

APP = """
import os

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"GREETING %d" % os.getpid()})
"""


class Served:
    """A small application that is served.

    Args:
        root: A folder for it.

    Attributes:
        rest: What was logged and not read, after the end.
    """

    rest = ""

    def __init__(self, root: Path) -> None:
        self.source = root / "web" / "hello.py"
        self.source.parent.mkdir()
        self.write("hello")
        self._process = subprocess.Popen(
            [
                sys.executable, HERE / "compose/serve.py", "web.hello:app",
                "--port", "0", "--reload-dir", "web", "--again", "0.1",
            ],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._limit = threading.Timer(
            60, self._process.kill
        )  # whoever reads on is told that there is no more
        self._limit.start()
        self.address = self.read(r"running on (http://\S+)")
        self.read("Started reloader process")

    def write(self, greeting: str) -> None:
        """Edit its source."""
        self.source.write_text(APP.replace("GREETING", greeting))

    def read(self, pattern: str) -> str:
        """Read what is logged until a line matches. Returns the group of the pattern, or the line."""
        assert self._process.stderr is not None
        read = ""
        for line in self._process.stderr:
            read += line
            if match := re.search(pattern, line):
                return match[1] if match.re.groups else line
        raise AssertionError(f"nothing like {pattern} in:\n{read}")

    def ask(self) -> tuple[str, int]:
        """Ask it. Returns the greeting, and the process that answered. Waits for one: the port stays open all the time."""
        with urllib.request.urlopen(self.address, timeout=60) as response:
            greeting, process = response.read().decode().split()
        return greeting, int(process)

    def stop(self) -> int:
        """End it. Returns the exit code."""
        self._limit.cancel()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                _, self.rest = self._process.communicate(timeout=60)
            finally:
                self._process.kill()
        code: int = self._process.returncode
        return code


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A small application that is served."""
    served = Served(tmp_path)
    yield served
    served.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_server_that_is_killed(served: Served, number: int) -> None:
    """A server that is killed is started again, each time, and it is logged how it ended."""
    for _ in range(2):
        _, process = served.ask()
        os.kill(process, number)
        assert served.read(r"ended with exit code (\S+)\. Starting it again") in (f"{-number}", "0")

        assert served.ask()[1] != process


def test_edited_source(served: Served) -> None:
    """An edited source is served without a word about a death."""
    served.ask()
    greeting = ""

    for edits in range(100):  # one that comes before the reloader has looked for the first time is none to it
        served.write("good_day")
        os.utime(served.source, (edits, 2_000_000_000 + edits))
        if (greeting := served.ask()[0]) == "good_day":
            break
        time.sleep(0.1)  # the reloader looks four times a second

    assert greeting == "good_day"
    served.stop()
    assert "Starting it again" not in served.rest


def test_source_that_does_not_work(served: Served) -> None:
    """A source that cannot be imported is tried again and again, and is served as soon as it can be."""
    served.source.write_text("1 / 0\n")
    for _ in range(3):
        served.read("ZeroDivisionError")

    served.write("mended")

    assert served.ask()[0] == "mended"


def test_end(served: Served) -> None:
    """SIGTERM ends both processes."""
    _, process = served.ask()

    assert served.stop() == 0

    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
