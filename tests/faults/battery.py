"""Runs faults, each in a place of its own and with an end, and prints what held."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil

PROJECT: Final = Path(__file__).parents[1] / "greenroom/projects/shop"

TOTAL: Final = 540.0
"""Seconds for all of them. What has not begun by then has not held."""

SECONDS: Final = 60.0
"""For each step of a fault, all of which take a few."""

GREENROOM: Final = [sys.executable, "-m", "greenroom"]

PASSING: Final = "def test_it(client): assert client.post('/customers/a').json() == {'id': 1}\n"


class FellShort(Exception):
    """What greenroom did not get over, in one line."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        kind: The line of the table that it belongs to.
        name: What it is.
        provoke: Does it, in a place of its own. Raises an exception if it did not hold.
    """

    kind: str
    name: str
    provoke: Callable[[Place], None]


class Place:
    """A project and a runtime folder of a fault's own.

    Attributes:
        folder: All that the fault makes is in there.
        root: The project.
        runtime: The runtime folder.
        environ: The environment of the commands.
        said: The file that the output of `start` goes to.
    """

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="gf-", dir=memory if memory.is_dir() else "/tmp"))
        self.folder.chmod(0o755)
        self.root = self.folder / "shop"
        self.runtime = self.folder / "rt"
        self.runtime.mkdir()
        shutil.copytree(PROJECT, self.root)
        self.said = self.folder / "said"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GREENROOM_", "PYTEST_", "DATABASE_URL", "COV", "MAKE")) and name != "CI"
        }
        self.environ = kept | {
            "GREENROOM_ENGINE": "embedded",
            "GREENROOM_RUNTIME_DIR": str(self.runtime),
        }
        self.write("tests/test_it.py", PASSING)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a file of the project."""
        text = (self.root / name).read_text()
        expect(old in text, f"{name} has no {old}")
        (self.root / name).write_text(text.replace(old, new))

    def run(self, *words: str, code: int | None = 0) -> str:
        """Run greenroom to its end. Returns what it said.

        Args:
            words: Its arguments.
            code: The exit code that it must have; None for any.
        """
        done = subprocess.run(
            [*GREENROOM, *words],
            cwd=self.root, env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=SECONDS, check=False,
        )  # fmt: skip
        said = done.stdout.decode(errors="replace")
        expect(
            "Traceback" not in said and "INTERNALERROR" not in said,
            f"{words[0]} ends in a traceback: {said[-300:]}",
        )
        expect(
            code is None or done.returncode == code, f"{words[0]} ends with {done.returncode}: {said[-300:]}"
        )
        return said

    def start(self, command: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, as a CI job does it."""
        with self.said.open("wb") as said:
            return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
                command, cwd=self.root, env=self.environ, stdin=subprocess.DEVNULL, stdout=said,
                stderr=subprocess.STDOUT, start_new_session=True, **options,
            )  # fmt: skip

    def server(self) -> psutil.Process:
        """The process of the server that `up` has started."""
        (file,) = self.runtime.glob("*/*/up/data/postmaster.pid")
        return psutil.Process(int(file.read_text().split()[0]))

    def kept(self, name: str) -> Path:
        """A file of the server that `up` has started."""
        (folder,) = self.runtime.glob("*/*/up")
        return folder / name

    def processes(self, *, servers: bool = True) -> list[psutil.Process]:
        """All that run for this place: by their environment or, as PostgreSQL's, by their folder.

        Args:
            servers: PostgreSQL's, too.
        """
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if each.status() == psutil.STATUS_ZOMBIE or (not servers and each.name() == "postgres"):
                    continue
                if Path(each.cwd()).is_relative_to(self.folder) or each.environ().get(
                    "GREENROOM_RUNTIME_DIR", ""
                ).startswith(str(self.folder)):
                    found.append(each)
        return found

    def nothing_left(self) -> None:
        """Wait until nothing of this place runs, and its runtime folder is empty."""
        until(lambda: not self.processes(), "processes go on", self.processes)
        until(lambda: not list(self.runtime.iterdir()), "left", lambda: list(self.runtime.rglob("*"))[:4])

    def end(self) -> None:
        """End all that there still is."""
        for each in self.processes():
            with contextlib.suppress(psutil.Error):
                each.kill()

    def close(self) -> None:
        """End and remove all that there still is."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def expect(holds: object, otherwise: str) -> None:
    """Check something that must be so."""
    if not holds:
        raise FellShort(" ".join(otherwise.split()))


def until(
    holds: Callable[[], object],
    otherwise: str,
    shown: Callable[[], object] = lambda: "",
    *,
    seconds: float = SECONDS,
) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < end, f"{otherwise}: {shown()}")
        time.sleep(0.05)  # until it is looked at again


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a fault: how long it took, and what fell short, if anything."""

    fault: Fault
    seconds: float
    short: str | None


def run(faults: Sequence[Fault], *, workers: int) -> Iterator[Result]:
    """Run faults, several at a time. Yields each as it ends, in order.

    Args:
        faults: The faults.
        workers: How many at a time.
    """
    end = time.monotonic() + TOTAL

    def one(fault: Fault) -> Result:
        began = time.monotonic()
        if began > end:
            return Result(fault, 0, f"not tried: {TOTAL:g} s are over")
        place = Place()
        short = None
        try:
            fault.provoke(place)
        except FellShort as error:
            short = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it has not held
            short = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        finally:
            place.close()
        return Result(fault, time.monotonic() - began, short)

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(one, faults)
    finally:
        # Those that have begun remove what is theirs.
        pool.shutdown(cancel_futures=True)


def table(results: Sequence[Result]) -> str:
    """What held, a line for each kind, and below it what did not."""
    by_kind = defaultdict(list)
    for each in results:
        by_kind[each.fault.kind].append(each)
    width = max(map(len, by_kind))
    lines = [f"{'kind':{width}}  tried  held  slowest"]
    for kind, found in by_kind.items():
        held = sum(each.short is None for each in found)
        lines.append(
            f"{kind:{width}}  {len(found):5}  {held:4}  {max(each.seconds for each in found):5.1f} s"
        )
    held = sum(each.short is None for each in results)
    lines.append(f"{'all':{width}}  {len(results):5}  {held:4}")
    lines += [
        f"FELL SHORT  {each.fault.kind}: {each.fault.name}: {each.short}" for each in results if each.short
    ]
    return "\n".join(lines)
