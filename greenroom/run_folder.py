"""Folders that belong to a process, and are anybody's to remove once it has ended.

The process holds a lock on a file in its folder, which the system lets go of when the process ends, in whatever way.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import IO, Final

FILE: Final = "lock"

_TRIES: Final = 100


def new(parent: Path, prefix: str = "run") -> IO[str]:
    """Make a folder for this process below `parent`. Returns its locked file; the folder is that file's parent."""
    # The same one again for a second run of this process: what the first has imported knows that path.
    suffix = ""
    for tries_left in reversed(range(_TRIES)):
        folder = parent / f"{prefix}-{os.getpid()}{suffix}"
        suffix = f"-{secrets.token_hex(2)}"
        try:
            folder.mkdir(parents=True, mode=0o700)
        except (FileExistsError, FileNotFoundError):
            if tries_left:
                continue  # another run's, or its parent has just been tidied away
            raise
        with contextlib.suppress(FileNotFoundError):
            (folder / FILE).touch()
        lock = take(folder)
        # Somebody else may have swept the folder before it was locked.
        if lock is not None and (folder / FILE).exists():
            return lock
    raise FileNotFoundError(errno.ENOENT, "It is removed as soon as it is made", str(parent))


def take(folder: Path) -> IO[str] | None:
    """The lock of a folder whose process has ended, or None while it lives, or if the folder has no such file."""
    try:
        file = (folder / FILE).open("r+")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
