"""Locks on files, held by one process at a time, which the system lets go of when that process ends in whatever way."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from greenroom import own_files
from greenroom.errors import HangError
from greenroom.output import Say, silent

WAIT: Final = 60.0
"""Seconds to wait for a lock: starting or stopping a server takes a few, and at most 40."""

_SAID: Final = 1.0
"""Seconds after which it is said that something waits."""


@contextlib.contextmanager
def locked(path: Path, *, seconds: float = WAIT, say: Say = silent, private: bool = False) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is not there.

    Args:
        path: The file. It holds the number of the process that holds its lock.
        seconds: How long to wait for it.
        say: Takes the word that something waits.
        private: Nobody but this user may have made it.

    Raises:
        FileNotFoundError: Its folder is not there.
        HangError: Another process holds it longer.
        ServerError: It is private, and somebody else's or a link.
    """
    began, told = time.monotonic(), False
    while True:
        with own_files.opened(path) if private else path.open("a+", encoding="utf-8") as file:
            while not _take(file.fileno()):
                waited = time.monotonic() - began
                number = _holder(file)
                holder = f"process {number}" if number else "another process"
                if waited > seconds:
                    raise HangError(
                        f"{path} is locked: {holder} has held it for more than {seconds:g} s. It may have been stopped, as "
                        f"by Ctrl-Z.",
                        hint=f"let it go on (kill -CONT {number}), or end it"
                        if number
                        else "look for it: ps -ef | grep greenroom",
                    )
                if waited > _SAID and not told:
                    say(f"waiting for {holder}, which holds {path}, {seconds:g} s at most …")
                    told = True
                time.sleep(0.02)  # until it is tried again: the system's own wait has no end
            if not _is_at(path, file):
                continue  # who held it has removed it, and the next one locks another file
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield
            return


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _holder(file: IO[str]) -> str:
    """The number of the process that holds a file's lock: as Linux tells it, or as it is in the file."""
    found = os.fstat(file.fileno())
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if "->" not in words and place in words and int(words[4]) > 0:
                return words[4]
    file.seek(0)
    number = file.read(20).strip()
    return number if number.isdecimal() else ""
