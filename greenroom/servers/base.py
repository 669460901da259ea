"""What every kind of server does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Self

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say

LOG_LINES: Final = 1000
"""How much of a server's log is worth having."""

_kinds: dict[str, type[Server]] = {}


def kinds() -> dict[str, type[Server]]:
    """The kinds of servers there are, by name."""
    return dict(_kinds)


class Server(ABC):
    """A Postgres server on which greenroom may create databases.

    Its URL is known before it is started: the application reads the URL of its database when it is imported, and the
    server starts when the first test needs it.

    Attributes:
        kind: The name that `engine` in the configuration and `ENGINE=` choose it by.
        preference: `engine = "auto"` takes the lowest of those that can be had.
        remedy: What makes it available where it is not.
        enters: It can be reached from inside its own stack only: commands and pytest run there, by `enter`.
        disposable: It goes away with the run, so its databases need not be dropped one by one.
    """

    kind: ClassVar[str]
    preference: ClassVar[int]
    remedy: ClassVar[str]
    enters: ClassVar[bool] = False
    disposable: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _kinds[cls.kind] = cls

    @classmethod
    @abstractmethod
    def why_not(cls, config: Config) -> str | None:
        """Why this kind cannot be had here, or None if it can. Quick, and changes nothing."""

    @classmethod
    def kept(cls, config: Config) -> bool:  # noqa: ARG003 - not every kind can tell at once
        """Whether there is one that is up for this checkout, if that can be told in a millisecond."""
        return False

    @classmethod
    def obtain(cls, config: Config, say: Say) -> None:  # noqa: ARG003 - most kinds need nothing
        """Have what it takes to start one, such as an image from a registry.

        Raises:
            UnavailableError: It cannot be had, and `why_not` says so from now on.
        """
        return

    @classmethod
    @abstractmethod
    def for_run(cls, config: Config) -> Self:
        """The server for one test run: the checkout's own if `up` has started it, else one that ends with the run."""

    @classmethod
    def for_ci(cls, config: Config) -> Self:
        """The server for one run in CI."""
        return cls.for_run(config)

    @classmethod
    @abstractmethod
    def for_checkout(cls, config: Config) -> Self:
        """The server that `up` starts and keeps, and `down` removes."""

    @classmethod
    @abstractmethod
    def join(cls, config: Config, handle: str) -> Self:
        """The server of a run that another process manages, from that process's `handle`."""

    @property
    @abstractmethod
    def handle(self) -> str:
        """What another process of the run needs for `join`."""

    @property
    @abstractmethod
    def admin(self) -> URL:
        """The maintenance database, as a role that may create databases. Known before `start`."""

    @property
    @abstractmethod
    def where(self) -> str:
        """Where it is, for a person."""

    @abstractmethod
    def running(self) -> bool:
        """Whether it answers."""

    @abstractmethod
    def start(self, say: Say) -> None:
        """Make sure that it answers, within a bounded time.

        Raises:
            ServerError: It does not, with the cause.
        """

    @abstractmethod
    def stop(self) -> None:
        """The run is over: stop the server and remove its data, if it was the run's own."""

    def log(self, lines: int = LOG_LINES) -> str | None:  # noqa: ARG002 - not every kind has it
        """The last lines of the server's log, or None if it cannot be had from here."""
        return None

    def enter(self, command: Sequence[str]) -> int:
        """Run a command in the server's stack, at this terminal. Returns its exit code."""
        raise NotImplementedError  # for the kinds that say `enters`

    def start_and_enter(self, command: Sequence[str], say: Say) -> int:
        """Start it, and run a command in its stack. Returns the command's exit code."""
        self.start(say)
        return self.enter(command)

    def output(self, command: Sequence[str]) -> str:
        """What a command prints in the server's stack."""
        raise NotImplementedError  # for the kinds that say `enters`

    @abstractmethod
    def remove(self, say: Say) -> bool:
        """Remove all that there is of this checkout, whoever started it. True if there was anything."""
