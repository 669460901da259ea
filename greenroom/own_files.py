"""Files that only the user of this process can have written: opened without following a link, and their owner checked.

They lie in folders of that user's. Still, whoever could plant a link there would have root empty, or print, a file of root's.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO, Final

from greenroom.errors import ServerError

_PLAIN: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def opened(path: Path) -> IO[str]:
    """Open a file to read and write, and make it if it is not there.

    Raises:
        FileNotFoundError: Its folder is not there.
        ServerError: It is a link, or somebody else's.
    """
    return os.fdopen(_open(path, os.O_RDWR | os.O_CREAT), "r+", encoding="utf-8", errors="replace")


def read(path: Path, *, owner: int | None = None) -> bytes | None:
    """The content of a file, or None if it is not there.

    Args:
        path: The file.
        owner: Its user, if that is not this process's.

    Raises:
        ServerError: It is a link, or somebody else's.
    """
    try:
        descriptor = _open(path, os.O_RDONLY, owner)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def write(path: Path, content: bytes) -> None:
    """Write a file at once, for this user's eyes only. What was there under its name is replaced, and not written to."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600), "wb") as file:
        file.write(content)
    part.replace(path)


def _open(path: Path, flags: int, owner: int | None = None) -> int:
    try:
        descriptor = os.open(path, flags | _PLAIN, 0o600)
    except OSError:
        if path.is_symlink():
            raise _refused(path, "a link") from None
        raise
    found = os.fstat(descriptor)
    wanted = os.geteuid() if owner is None else owner
    if stat.S_ISREG(found.st_mode) and found.st_uid == wanted and found.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "no file")
    raise _refused(
        path, f"one of user {found.st_uid}" if found.st_uid != wanted else "one with a second name"
    )


def _refused(path: Path, found: str) -> ServerError:
    return ServerError(
        f"{path} must be a file that greenroom has made. Found: {found}.",
        hint="look who has put it there, and remove its folder",
    )
