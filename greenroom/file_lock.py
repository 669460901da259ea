"""Locks on files, held by one process at a time, which the system lets go of when that process ends in whatever way."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from greenroom.errors import HangError
from greenroom.output import Say, silent

WAIT: Final = 60.0
"""Seconds to wait for a lock: starting or stopping a server takes a few, and at most 40."""

_SAID: Final = 1.0
"""Seconds after which it is said that something waits."""


@contextlib.contextmanager
def locked(path: Path, *, seconds: float = WAIT, say: Say = silent) -> Iterator[None]:
    """Hold the lock of a file, which is made if it is not there.

    Args:
        path: The file. It holds the number of the process that holds its lock.
        seconds: How long to wait for it.
        say: Takes the word that something waits.

    Raises:
        HangError: Another process holds it longer.
    """
    with path.open("a+") as file:
        began, told = time.monotonic(), False
        while not _take(file.fileno()):
            waited = time.monotonic() - began
            file.seek(0)
            holder = f"process {number}" if (number := file.read(20).strip()) else "another process"
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
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
