"""One PostgreSQL server process and its data directory, in a folder of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from greenroom import own_files, runtime
from greenroom.errors import ServerError
from greenroom.file_lock import WAIT, locked
from greenroom.output import Say, silent, timed
from greenroom.servers import installations, modules
from greenroom.servers.address import DEFAULT, LOOPBACK, Address, on_socket, reserve
from greenroom.servers.installations import Installation
from greenroom.servers.programs import choose
from greenroom.servers.tools import START_TIMEOUT, Tools, listed, owner, quoted

SUPERUSER: Final = "postgres"

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


_PER_CORE: Final = 12
"""Connections for each core: a worker of xdist has five of greenroom's own at most, and a pool of the application's that is busy."""


_CHOSEN: Final[dict[Path, Address]] = {}
"""By the folders of this process's servers. A second run in one process uses the same: an application that is imported once
knows the URL of the first run."""

_NONE: Final = Address(DEFAULT, "", listens=False)

_MODULES: Final = "modules"
"""The folder of extensions from elsewhere, in the server's."""

_LONGEST_PORT: Final = 65535

GONE: Final = "gone"
"""How the name of a server's folder begins that is being removed."""


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
        runtime.socket_path(self._data, _LONGEST_PORT)

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
    def socket_folder(self) -> Path:
        """Where its socket is: in its data, the one folder that the server itself may write to."""
        return self._data

    @property
    def _socket(self) -> Path:
        return runtime.socket_path(self._data, self.address.port)

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
            content = own_files.read(self._data / "postmaster.pid", owner=self._data.lstat().st_uid)
            pid = int((content or b"").split(b"\n", 1)[0])
            # After a crash the number may belong to another process by now. A server's own folder is its data.
            return pid if self._data.samefile(psutil.Process(pid).cwd()) else None
        except (OSError, ValueError, psutil.Error):
            return None

    def log(self, lines: int) -> str | None:
        """Return the last lines of the server's log, or None if it has never been started."""
        content = own_files.read(self._log, owner=owner())
        if content is None:
            return None
        return "".join(content.decode(errors="replace").splitlines(keepends=True)[-lines:])

    def start(self, say: Say, *, listens: bool = True, fresh: bool = False) -> None:
        """Initialise the data directory and start the server, unless it runs already.

        Args:
            say: Takes progress.
            listens: On the loopback as well, where the address is chosen now.
            fresh: Choose the address now, since nobody has kept the last one free.

        Raises:
            HangError: Another process has been starting or stopping it for too long.
            ServerError: It did not get ready in time, with the end of its log.
        """
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    runtime.make(self.folder)
                    stack.enter_context(locked(self._lock, say=say, private=True))
                except FileNotFoundError:
                    continue  # another process has just removed it
                if not self.answers():
                    self._start(say, listens=listens, fresh=fresh)
                return

    def _start(self, say: Say, *, listens: bool, fresh: bool) -> None:
        if fresh:
            self.choose_address(listens=listens)
        tools = Tools(self.folder, self.installation)
        tools.installation.save(self.folder)
        if (self._data / "postmaster.pid").exists() and self.pid is None:
            # It was killed. Postgres would refuse to start where a container's first process leaves the dead one
            # as a zombie, and nothing in here is worth a recovery.
            say("the server was killed; starting a new one")
            self._clear()
        there = (self._data / "PG_VERSION").exists()
        if not there:
            self._initialise(tools, say)
        try:
            self._run(tools, say)
        except ServerError as error:
            if not there:
                raise
            say(f"the data of the last server cannot be used ({_cause(error.message)}); starting a new one")
            self._stop()
            self._clear()
            self._initialise(tools, say)
            self._run(tools, say)
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _run(self, tools: Tools, say: Say) -> None:
        address = self.address
        with timed(say, f"starting Postgres in {self.folder}", "ready"):
            settings = SETTINGS | {"listen_addresses": LOOPBACK if address.listens else ""}
            settings |= self._versions(tools.installation)
            # Where there are more workers than 200 connections are enough for.
            most = max(int(settings["max_connections"]), _PER_CORE * (os.cpu_count() or 1))
            settings["max_connections"] = str(most)
            options = " ".join(f"-c {name}={quoted(value)}" for name, value in settings.items())
            tools.own(self._log)
            tools.run(
                "pg_ctl", "start", "-D", tools.word(self._data), "-l", tools.word(self._log), "-w", "-t", START_TIMEOUT, "-s",
                "-o", f"-k {quoted(listed(self._data))} -p {address.port} {options}",
                log=self._log,
            )  # fmt: skip

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

    def _initialise(self, tools: Tools, say: Say) -> None:
        # Left by an initdb that was killed.
        shutil.rmtree(self._data, ignore_errors=True)
        tools.own(self._data)
        with timed(say, "initialising a data directory", "initialised"):
            tools.run(
                "initdb", "-D", tools.word(self._data), "-U", SUPERUSER,
                # Only this user can open the socket. Everybody on this machine can reach the loopback.
                "--auth-local=trust", "--auth-host=scram-sha-256",
                "--no-sync", "--no-instructions",
                "--encoding=UTF8", *installations.locale(tools.installation.major),
            )  # fmt: skip

    def remove(self, say: Say = silent, *, seconds: float = WAIT) -> bool:
        """Stop the server if it is running, and remove its folder. Returns whether there was anything.

        Args:
            say: Takes the word that something waits.
            seconds: How long to wait for another process that starts or stops it.

        Raises:
            HangError: Another process has been starting or stopping it for longer.
            ServerError: It cannot be stopped.
        """
        if not self.folder.exists() or (self.pid is None and self.answers()):
            # The latter runs where its process cannot be seen, such as in a container that shares this memory.
            return False
        gone = self.folder.with_name(f"{GONE}-{secrets.token_hex(4)}")
        try:
            with locked(self._lock, say=say, seconds=seconds, private=True):
                self._stop()
                self._clear()
                # In one step: another process may make the folder again at once.
                self.folder.rename(gone)
        except FileNotFoundError:
            return False  # somebody else has just removed it
        while gone.exists():
            # Another process may be sweeping the same, and what it has removed is missed here.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(gone)
        return True

    def _stop(self) -> None:
        """Stop the process: with a fast shutdown, then an immediate one, then SIGKILL. Each step has a time limit.

        Raises:
            ServerError: It is still there.
        """
        for number, seconds in ((signal.SIGINT, 10), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            if (pid := self.pid) is None:
                return
            with contextlib.suppress(psutil.Error):
                server = psutil.Process(pid)
                processes = [server, *server.children(recursive=True)]
                for each in processes if number == signal.SIGKILL else [server]:
                    with contextlib.suppress(psutil.Error):
                        each.send_signal(number)
                for each in processes:
                    with contextlib.suppress(psutil.Error):
                        each.resume()  # one that is stopped hears nothing else
                end = time.monotonic() + seconds
                while not _ended(server) and time.monotonic() < end:
                    time.sleep(0.01)  # it is not this process's child, which could be waited for
        if (pid := self.pid) is not None:
            raise ServerError(
                f"The process {pid} of the server in {self.folder} does not end, not even by SIGKILL.",
                hint=f"ps -o pid,stat,wchan,args {pid} shows what it waits for",
            )

    def _clear(self) -> None:
        """Remove the data and the socket of a server that has ended, and the shared memory that a killed one has left."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The last but one line: the key and the id of its System V segment.
            content = own_files.read(self._data / "postmaster.pid", owner=owner()) or b""
            segment = int(content.splitlines()[6].split()[1])
            if os.geteuid() != 0 or _segments().get(segment) == owner():
                ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID, on Linux and on macOS
        shutil.rmtree(self._data, ignore_errors=True)


def program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs, of the wheel or an installed one, or None if there is none."""
    for installation in installations.everywhere():
        if installation.archive is None and (found := shutil.which(name, path=installation.bin)):
            return found
    return None


def _ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or a zombie, which a container's first process may not clear away."""
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _segments() -> dict[int, int]:
    """System V's segments of shared memory, each with the user who has made it."""
    try:
        lines = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {int(words[1]): int(words[9]) for words in map(str.split, lines[1:])}


def _cause(said: str) -> str:
    """The line with which a server gives up."""
    for word in ("PANIC: ", "FATAL: "):
        if found := [line for line in said.splitlines() if word in line]:
            return found[-1].partition(word)[2].strip()
    return said.strip().splitlines()[-1].strip()
