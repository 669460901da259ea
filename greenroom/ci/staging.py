"""Prepare reports in a separate folder and publish them as a whole, so that concurrent runs in one checkout do not mix theirs."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from greenroom import run_folder
from greenroom.errors import ReportsError
from greenroom.file_lock import locked
from greenroom.record import FOLDER
from greenroom.signals import ENDING

NAMES: Final = (
    "summary.md",
    "junit.xml",
    "coverage.xml",
    "coverage",
    "coverage.data",
    "run.json",
    "postgres.log",
    "kept",
)
"""Every report that a run may write. A run removes those of an earlier run, even if it does not write them itself."""

_PREFIX: Final = ".run"


class Staging:
    """A folder in reports/ that belongs to this run and is removed with it. A context manager.

    Attributes:
        folder: Where the run writes.

    Args:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._reports = root / FOLDER

    def __enter__(self) -> Self:
        try:
            self._lock = run_folder.new(self._reports, _PREFIX)
        except OSError as error:
            raise ReportsError(
                f"Cannot write to {self._reports}: {error.strerror}.",
                hint="use a folder that you may write to",
            ) from None
        self.folder = Path(self._lock.name).parent
        return self

    def __exit__(self, *_: object) -> None:
        with signals_put_off():
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.close()
            self._sweep()

    @property
    def lock(self) -> int:
        """The file that says that the folder is in use, for a child process that uses it, too."""
        return self._lock.fileno()

    def publish(self, target: Path) -> list[str]:
        """Move what was written to `target`, in the place of what an earlier run has left there. Returns what it was.

        Raises:
            ReportsError: What is there cannot be replaced.
        """
        try:
            target.mkdir(parents=True, exist_ok=True)
            # Of two runs that end at the same time, all is of the one that ends last.
            with signals_put_off(), locked(self._reports / ".lock"):
                return [name for name in NAMES if self._replace(name, target / name)]
        except OSError as error:
            raise ReportsError(
                f"Cannot replace {error.filename}: {error.strerror}.",
                hint="it must belong to you; a container that ran as another user may have left it",
            ) from None

    def _replace(self, name: str, old: Path) -> bool:
        """Replace `old` with what was written under its name. Returns whether anything was."""
        new = self.folder / name
        there = new.exists()
        if old.is_dir() or (new.is_dir() and old.exists()):
            # A folder is not replaced in one step.
            old.rename(self.folder / f"old-{name}")
        if there:
            new.replace(old)
        else:
            old.unlink(missing_ok=True)
        return there

    def _sweep(self) -> None:
        """Remove the folders of killed runs."""
        for folder in self._reports.glob(f"{_PREFIX}-*"):
            ended = run_folder.take(folder)
            if ended is not None:
                with ended:
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def signals_put_off() -> Iterator[None]:
    """Delay signals until the block has ended, which takes a moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
