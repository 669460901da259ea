"""One PostgreSQL server process and its data directory, in a folder of its own."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from greenroom import runtime
from greenroom.errors import ServerError
from greenroom.file_lock import locked
from greenroom.output import Say, timed
from greenroom.places import indented
from greenroom.processes import captured
from greenroom.servers import installations, modules
from greenroom.servers.address import DEFAULT, LOOPBACK, Address, on_socket, reserve
from greenroom.servers.installations import Installation
from greenroom.servers.programs import choose

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
    # Nothing outside this machine gets in, and nobody on it without the password.
    "listen_addresses": LOOPBACK,
    "unix_socket_permissions": "0700",
    # The same on every machine, whatever its own zone.
    "timezone": "UTC",
    "log_timezone": "UTC",
}


_CHOSEN: Final[dict[Path, Address]] = {}
"""By the folders of this process's servers. A second run in one process uses the same: an application that is imported once
knows the URL of the first run."""

_NONE: Final = Address(DEFAULT, "", listens=False)

_MODULES: Final = "modules"
"""The folder of extensions from elsewhere, in the server's."""

_LONGEST_PORT: Final = 65535


class Instance:
    """A server in `folder`, with the socket in it. Creating this object starts nothing.

    Args:
        folder: Its own folder; made by `start` and removed by `remove`.
        postgres: The major version; empty for any.
        extensions: Extensions that decide which of the machine's PostgreSQL it is made of.
    """

    def __init__(self, folder: Path, *, postgres: str = "", extensions: Sequence[str] = ()) -> None:
        self.folder = folder
        self._postgres = postgres
        self._extensions = extensions
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._lock = folder / "start.lock"
        self._reserved: socket.socket | None = None
        runtime.socket_path(folder, _LONGEST_PORT)

    @property
    def address(self) -> Address:
        """Its address; before one is chosen, and of a server of an older greenroom: PostgreSQL's default, without the loopback."""
        return Address.of(self.folder) or _NONE

    def choose_address(self, *, listens: bool) -> None:
        """Choose its address before it is started. Nobody else gets the port until then.

        Args:
            listens: It is to listen on the loopback as well.
        """
        if listens:
            address, self._reserved = reserve(_CHOSEN.get(self.folder))
            _CHOSEN[self.folder] = address
        else:
            address = on_socket()
        address.save(self.folder)

    @property
    def _socket(self) -> Path:
        return runtime.socket_path(self.folder, self.address.port)

    def answers(self) -> bool:
        """Return whether something listens on the socket."""
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
        """Return the last lines of the server's log, or None if it has never been started."""
        try:
            with self._log.open(errors="replace") as file:
                return "".join(collections.deque(file, maxlen=lines))
        except FileNotFoundError:
            return None

    def start(self, say: Say, *, listens: bool = True, fresh: bool = False) -> None:
        """Initialise the data directory and start the server, unless it runs already.

        Args:
            say: Takes progress.
            listens: On the loopback as well, where the address is chosen now.
            fresh: Choose the address now, since nobody has kept the last one free.

        Raises:
            ServerError: It did not get ready in time, with the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with locked(self._lock, say=say):
            if self.answers():
                return
            if fresh:
                self.choose_address(listens=listens)
            address = self.address
            tools = _Tools(self.folder, self.installation)
            tools.installation.save(self.folder)
            if (self._data / "postmaster.pid").exists() and self.pid is None:
                # It was killed. Postgres would refuse to start where a container's first process leaves the dead one
                # as a zombie, and nothing in here is worth a recovery.
                say("the server was killed; starting a new one")
                self._clear()
            if not (self._data / "PG_VERSION").exists():
                with timed(say, "initialising a data directory", "initialised"):
                    self._initialise(tools)
            with timed(say, f"starting Postgres in {self.folder}", "ready"):
                settings = SETTINGS | {"listen_addresses": LOOPBACK if address.listens else ""}
                settings |= self._versions(tools.installation)
                options = " ".join(f"-c {name}={_quoted(value)}" for name, value in settings.items())
                tools.run(
                    "pg_ctl", "start", "-D", self._data, "-l", self._log, "-w", "-t", START_TIMEOUT, "-s",
                    "-o", f"-k {_quoted(str(self.folder))} -p {address.port} {options}",
                    log=self._log,
                )  # fmt: skip
            if self._reserved is not None:
                self._reserved.close()
                self._reserved = None

    @property
    def installation(self) -> Installation:
        """The programs that it was started with; before that, those that it is to be started with.

        Raises:
            ServerError: There are none.
        """
        if (self._data / "PG_VERSION").exists() and (kept := Installation.of(self.folder)):
            return kept
        return choose(self._postgres, self._extensions)

    def provide(self, extensions: Sequence[str]) -> None:
        """Bring extensions that its programs lack, as far as they are somewhere; also while it runs."""
        modules.provide(self.folder / _MODULES, self.installation, extensions)

    def _versions(self, installation: Installation) -> dict[str, str]:
        """Settings that not every version has."""
        settings = {}
        if installation.major >= 16:
            # Stretching protects passwords that can be guessed. Ours are random, and it would take 2 ms of each connection.
            settings["scram_iterations"] = "1"
        if installation.major >= modules.SINCE:
            folder = self.folder / _MODULES
            settings["extension_control_path"] = f"$system:{folder}"
            settings["dynamic_library_path"] = f"$libdir:{folder / 'lib'}"
            self.provide(modules.own())
        return settings

    def _initialise(self, tools: _Tools) -> None:
        # Left by an initdb that was killed.
        shutil.rmtree(self._data, ignore_errors=True)
        tools.run(
            "initdb", "-D", self._data, "-U", SUPERUSER,
            "--auth=trust",
            "--no-sync", "--no-instructions",
            "--encoding=UTF8", *installations.locale(tools.installation.major),
        )  # fmt: skip
        (self._data / "pg_hba.conf").write_text(_ACCESS)

    def remove(self) -> bool:
        """Stop the server if it is running, and remove its folder. Returns whether there was anything."""
        if not self.folder.exists() or (self.pid is None and self.answers()):
            # The latter runs where its process cannot be seen, such as in a container that shares this memory.
            return False
        with contextlib.suppress(FileNotFoundError), locked(self._lock):
            self._stop()
            self._clear()
            shutil.rmtree(self.folder)
            return True
        # Somebody else has just removed it.
        return False

    def _stop(self) -> None:
        """Stop the process: with a fast shutdown, then an immediate one, then SIGKILL. Each step has a time limit."""
        tools = None
        for mode, seconds in (("fast", 10), ("immediate", 5)):
            if self.pid is None:
                return
            with contextlib.suppress(psutil.Error):
                psutil.Process(self.pid).resume()  # one that is stopped hears nothing else
            tools = tools or _Tools(self.folder, self.installation)
            with contextlib.suppress(ServerError):
                tools.run("pg_ctl", "stop", "-D", self._data, "-m", mode, "-w", "-t", seconds, "-s")
        if (pid := self.pid) is not None:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                processes = [process, *process.children(recursive=True)]
                for each in processes:
                    each.kill()
                psutil.wait_procs(processes, timeout=5)

    def _clear(self) -> None:
        """Remove the data and the socket of a server that has ended, and the shared memory that a killed one has left."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The last but one line: the key and the id of its System V segment.
            segment = int((self._data / "postmaster.pid").read_text().splitlines()[6].split()[1])
            ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID, on Linux and on macOS
        shutil.rmtree(self._data, ignore_errors=True)
        for name in (self._socket, f"{self._socket}.lock"):
            Path(name).unlink(missing_ok=True)


_ACCESS: Final = f"""\
# Only this user can open the socket. Everybody on this machine can reach the loopback, and nobody else.
local all all trust
host all all {LOOPBACK}/32 scram-sha-256
"""


class _Tools:
    """Run PostgreSQL's programs as a user that they accept: they refuse to run as root."""

    def __init__(self, folder: Path, chosen: Installation) -> None:
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = _unprivileged()
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(folder, account.pw_uid, account.pw_gid)
        if chosen.archive or (os.geteuid() == 0 and chosen.package and not _open_to_all(chosen.bin)):
            chosen = installations.unpacked(chosen, folder / "programs")
        self.installation = chosen

    def run(self, program: str, *arguments: object, log: Path | None = None) -> None:
        """Run `program` to its end.

        Raises:
            ServerError: It failed, with the end of what it said and of `log`.
        """
        try:
            # A file, not a pipe: the server inherits it and would keep a pipe open for as long as it runs.
            with tempfile.TemporaryFile("w+") as out:
                done = captured(
                    [str(self.installation.bin / program), *map(str, arguments)],
                    {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                    seconds=START_TIMEOUT + 10,
                    cwd=Path("/"),  # a folder that the other user may be in
                    merged=True,
                    stdout=out,
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


def program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs, of the wheel or an installed one, or None if there is none."""
    for installation in installations.everywhere():
        if installation.archive is None and (found := shutil.which(name, path=installation.bin)):
            return found
    return None


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(
        "Postgres refuses to run as root, and this machine has neither a user 'postgres' nor 'nobody'.",
        hint="run as an ordinary user",
    )


def _open_to_all(path: Path) -> bool:
    """Return whether any user may read `path`: not, for example, below root's home."""
    return all(folder.stat().st_mode & 0o001 for folder in (path.resolve(), *path.resolve().parents))


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
