"""Where a checkout keeps what it runs: one folder in memory, named after the checkout's path.

    <tmpfs>/greenroom-<uid>/<name>-<hash>/up       the server that `greenroom up` keeps
    <tmpfs>/greenroom-<uid>/<name>-<hash>/run-…    a server of one test run

Two checkouts never meet, since the hash is of the path; two users never meet, since the folder is the user's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Final

from greenroom.errors import ServerError

ROOM: Final = 400 * 2**20
"""Bytes that must be free for a folder to be chosen: a server's own files take 40 MiB, its WAL at most 128 MiB."""

_LONGEST_SOCKET: Final = 103
"""Bytes of the longest path a Unix socket may have on both Linux (107) and macOS (103): sun_path in sys/un.h."""


def identity(root: Path) -> str:
    """A short name for the checkout at `root`, the same for each call and different for each path."""
    path = root.resolve()
    slug = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:16] or "checkout"
    return f"{slug}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def folder(root: Path) -> Path:
    """The folder in memory of the checkout at `root`. It need not exist yet."""
    return user_folder() / identity(root)


def neighbours() -> list[Path]:
    """The runtime folders of all this user's checkouts that have one."""
    return [path for path in user_folder().iterdir() if path.is_dir()]


def tidy(folder: Path) -> None:
    """Remove a checkout's runtime folder, and the user's, if nothing is left in them."""
    for path in (folder, folder.parent):
        with contextlib.suppress(OSError):
            path.rmdir()


def socket_path(folder: Path, port: int) -> Path:
    """The Unix socket that a server in `folder` with this port listens on.

    Raises:
        ServerError: The path is longer than an operating system takes.
    """
    path = folder / f".s.PGSQL.{port}"
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise ServerError(
            f"The path of the Unix socket is {len(os.fsencode(path))} bytes long; at most {_LONGEST_SOCKET} work: {path}.",
            hint="set GREENROOM_RUNTIME_DIR to a folder with a short path",
        )
    return path


def user_folder() -> Path:
    """The folder of all this user's checkouts, made if need be, and nobody else's."""
    own = _memory() / f"greenroom-{os.geteuid()}"
    # Root's server runs as another user, who must be able to pass through here (not to list it).
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        own.mkdir(mode=mode, exist_ok=True)
    except OSError as error:
        raise ServerError(
            f"Cannot make the runtime folder {own}: {error.strerror}.",
            hint="set GREENROOM_RUNTIME_DIR to a folder that you may write to",
        ) from None
    found = own.lstat()
    # The name can be guessed and the parent is open to all: somebody else may have been here first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ServerError(
            f"The runtime folder {own} must be a folder of user {os.geteuid()}. Found: one of user {found.st_uid}.",
            hint="remove it, or set GREENROOM_RUNTIME_DIR to another place",
        )
    own.chmod(mode)
    return own


def _memory() -> Path:
    """A place in memory if there is one with room; /dev/shm is 64 MiB in a container that was not told otherwise."""
    if chosen := os.environ.get("GREENROOM_RUNTIME_DIR"):
        path = Path(chosen).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return path
    shm = Path("/dev/shm")  # noqa: S108 - the folder made in it is checked for its owner
    if shm.is_dir() and os.access(shm, os.W_OK | os.X_OK) and shutil.disk_usage(shm).free >= ROOM:
        return shm
    # Not tempfile.gettempdir(): on macOS that is so long that no socket fits below it.
    return Path("/tmp")  # noqa: S108 - as above
