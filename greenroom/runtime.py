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

_CHOSEN: Final = "GREENROOM_RUNTIME_DIR"

_PLACES: Final = (Path("/dev/shm"), Path("/tmp"))  # noqa: S108 - the folder made there is checked for its owner

_UNFIT: Final = re.compile(r"[,:\n]")
"""What no list of hosts (of libpq) and of folders (of PostgreSQL) takes in a path."""

_UNDECODED: Final = re.compile(r"[\udc80-\udcff]")
"""How Python writes bytes that are no text in its locale: no URL takes them."""

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


def file_system() -> bytes:
    """What tells which files a path leads to in this process: which folder `/` is, and on Linux the mount namespace.

    Equal in two processes where the same path leads to the same file. A chroot has another `/`, a container another of both.
    """
    seen = [Path("/").stat()]
    with contextlib.suppress(OSError):
        seen.append(Path("/proc/self/ns/mnt").stat())
    return " ".join(f"{each.st_dev}:{each.st_ino}" for each in seen).encode()


def kept(root: Path, name: str) -> Path:
    """A folder in that of the checkout at `root`: where there is one already, also if another place has more room by now."""
    there = [user / identity(root) / name for user in _user_folders()]
    return next((path for path in there if path.exists()), folder(root) / name)


def neighbours() -> list[Path]:
    """The runtime folders of all this user's checkouts that have one."""
    found: list[Path] = []
    for user in _user_folders():
        with contextlib.suppress(FileNotFoundError):  # another process has just tidied it away
            found += [path for path in user.iterdir() if path.is_dir()]
    return found


def make(folder: Path) -> None:
    """Make a folder in that of a checkout, and that one, too. Nobody else can list them, or write there.

    Raises:
        FileNotFoundError: Another process has just removed what it is in.
        ValueError: It is not in a user's folder: whose rights would be changed is somebody else's.
    """
    if (user := folder.parent.parent) != _name_in(user.parent):
        raise ValueError(
            f"A server's folder is in that of a checkout, and that in the user's. Found: {folder}."
        )
    for path in (folder.parent.parent, folder.parent, folder):
        path.mkdir(mode=_mode(), exist_ok=True)
        if path.is_symlink():
            raise ServerError(f"{path} must be a folder. Found: a link.", hint="remove it")
        if path.stat().st_uid != os.geteuid():
            os.chown(
                path, os.geteuid(), os.getegid(), follow_symlinks=False
            )  # an older greenroom gave it to the server
        path.chmod(_mode())  # whatever the umask is


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
    own = _name_in(_memory())
    try:
        own.mkdir(mode=_mode(), exist_ok=True)
    except OSError as error:
        raise ServerError(
            f"Cannot make the runtime folder {own}: {error.strerror}.",
            hint="set GREENROOM_RUNTIME_DIR to a folder that you may write to",
        ) from None
    found = own.lstat()
    # The name can be guessed and the parent is open to all: somebody else may have been here first.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        what = "a link" if stat.S_ISLNK(found.st_mode) else "no folder"
        if stat.S_ISDIR(found.st_mode):
            what = f"one of user {found.st_uid}"
        raise ServerError(
            f"The runtime folder {own} must be a folder of user {os.geteuid()}. Found: {what}.",
            hint="remove it, or set GREENROOM_RUNTIME_DIR to another place",
        )
    own.chmod(_mode())
    return own


def _mode() -> int:
    # Root's server runs as another user, who must be able to pass through here (not to list it).
    return 0o711 if os.geteuid() == 0 else 0o700


def _user_folders() -> list[Path]:
    """The folders of this user's in all places where one may be, beginning with the one that is chosen now."""
    places = [user_folder()]
    if not os.environ.get(_CHOSEN):
        places += [_name_in(place) for place in _PLACES]
    return [
        path
        for path in dict.fromkeys(places)
        if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.geteuid()
    ]


def _name_in(place: Path) -> Path:
    return place / f"greenroom-{os.geteuid()}"


def _memory() -> Path:
    """A place in memory if there is one with room; /dev/shm is 64 MiB in a container that was not told otherwise."""
    if chosen := os.environ.get(_CHOSEN):
        path = Path(chosen).absolute()
        if unfit := _UNFIT.search(str(path)):
            raise ServerError(
                f"{_CHOSEN} must be a path without a {unfit[0]!r}, which parts a list of hosts or folders. Found: {path}.",
                hint="choose another folder, such as /tmp",
            )
        if _UNDECODED.search(str(path)):
            raise ServerError(
                f"{_CHOSEN} must be a path that this locale can write. Found: {str(path)!a}.",
                hint="choose another locale (LC_ALL=C.UTF-8), or another folder, such as /tmp",
            )
        try:
            for missing in reversed([each for each in (path, *path.parents) if not each.exists()]):
                missing.mkdir(exist_ok=True)
                if os.geteuid() == 0:
                    missing.chmod(0o755)  # root's server must be able to pass through, whatever the umask is
            next(path.iterdir(), None)  # that it is a folder
        except OSError as error:
            raise ServerError(
                f"{_CHOSEN} must be a folder that can be written to. Found: {path}: {error.strerror}.",
                hint="choose another folder, such as /tmp",
            ) from None
        return path
    shm, tmp = _PLACES
    if shm.is_dir() and os.access(shm, os.W_OK | os.X_OK) and shutil.disk_usage(shm).free >= ROOM:
        return shm
    # Not tempfile.gettempdir(): on macOS that is so long that no socket fits below it.
    return tmp
