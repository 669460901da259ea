"""A server from the PostgreSQL programs of a wheel: no Docker, no installation, no network."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from greenroom import checkout, lease
from greenroom.servers import instance
from greenroom.servers.base import LOG_LINES, Server
from greenroom.servers.instance import Instance

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say


_KEPT = "up"
_CHECKOUT = "checkout"


class Embedded(Server):
    """PostgreSQL's programs, run on data in memory, reached over a Unix socket that only this user can open.

    Args:
        folder: The server's folder.
        root: The checkout that it is for.
        held: The lock on the folder, if the server is this process's to remove at the end of its run.
    """

    kind = "embedded"
    preference = 90
    remedy = "pip install 'greenroom[embedded]'"

    def __init__(self, folder: Path, root: Path, held: IO[str] | None = None) -> None:
        self.disposable = folder.name != _KEPT
        self._instance = Instance(folder)
        self._root = root
        self._lease = held

    @classmethod
    def why_not(cls, config: Config) -> str | None:  # noqa: ARG003 - it is the machine that counts
        """It can be had where the wheel is installed."""
        return instance.missing()

    @classmethod
    def kept(cls, config: Config) -> bool:
        """Whether it listens on its socket."""
        return cls.for_checkout(config).running()

    @classmethod
    def for_run(cls, config: Config) -> Self:
        """The checkout's server if it runs, else a new one, whose folder is made at once and is this process's."""
        sweep()
        kept = cls.for_checkout(config)
        return kept if kept.running() else cls.new(config.root)

    @classmethod
    def new(cls, root: Path) -> Self:
        """A server of this process's own, not started yet. If the process is killed, `sweep` removes it.

        Args:
            root: The checkout that it is for.
        """
        held = lease.new(checkout.runtime(root))
        return cls(Path(held.name).parent, root, held)

    @classmethod
    def for_checkout(cls, config: Config) -> Self:
        """The server in the checkout's folder `up`."""
        return cls(checkout.runtime(config.root) / _KEPT, config.root)

    @classmethod
    def join(cls, config: Config, handle: str) -> Self:
        """The server in the folder that the managing process named."""
        return cls(Path(handle), config.root)

    @property
    def handle(self) -> str:
        """The folder."""
        return str(self._instance.folder)

    @property
    def admin(self) -> URL:
        """The maintenance database as the superuser, over the socket."""
        from sqlalchemy import URL

        return URL.create(
            "postgresql+psycopg",
            username=instance.SUPERUSER,
            database="postgres",
            query={"host": str(self._instance.folder)},
        )

    @property
    def where(self) -> str:
        """The folder, and the process where there is one."""
        pid = self._instance.pid
        return f"{self._instance.folder}" + (f" (process {pid})" if pid else "")

    def running(self) -> bool:
        """Whether it listens on its socket."""
        return self._instance.answers()

    def start(self, say: Say) -> None:
        """Start it, initialising the data directory first if it is new."""
        self._instance.start(say)
        if not self.disposable:
            (self._instance.folder / _CHECKOUT).write_text(str(self._root))

    def stop(self) -> None:
        """Stop the server and remove all that is in its folder, if it is this run's own."""
        if self._lease is not None:
            self._instance.remove()
            checkout.tidy(self._instance.folder.parent)
            self._lease.close()
            self._lease = None

    def log(self, lines: int = LOG_LINES) -> str | None:
        """The end of the file that it writes to."""
        return self._instance.log(lines)

    def remove(self, say: Say) -> bool:
        """Remove the server that was kept for this checkout, and what dead runs left."""
        swept = sweep()
        if swept:
            say(f"removed {swept} server(s) of runs that were killed")
        found = self._instance.remove()
        if found:
            say(f"stopped, and removed {self._instance.folder}")
        checkout.tidy(self._instance.folder.parent)
        return found or bool(swept)


def sweep() -> int:
    """Remove the servers of runs that were killed, and those of checkouts that are gone. Returns how many."""
    swept = 0
    for neighbour in checkout.neighbours():
        for folder in neighbour.glob("run-*"):
            ended = lease.take(folder)
            if ended is not None:
                with ended:
                    swept += Instance(folder).remove()
        named = neighbour / _KEPT / _CHECKOUT
        if named.exists() and not Path(named.read_text()).exists():
            swept += Instance(named.parent).remove()
        checkout.tidy(neighbour)
    return swept
