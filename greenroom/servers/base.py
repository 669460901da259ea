"""Where a Postgres comes from: what each kind does, and the two ways to reach it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Self

from greenroom.output import silent

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say

LOG_LINES: Final = 1000
"""How many lines of a server's log are read by default."""

_kinds: dict[str, type[Postgres]] = {}


def kinds() -> dict[str, type[Postgres]]:
    """All kinds, by name."""
    return dict(_kinds)


class Postgres(ABC):
    """A Postgres on which greenroom may create databases: a `Server`, or one that is `Enclosed` in a stack.

    Its URL is known before it is started: the application reads the URL of its database when it is imported, and the
    server starts when the first test needs it.

    Attributes:
        kind: The name that `engine` in the configuration and `ENGINE=` choose it by.
        preference: `engine = "auto"` takes the lowest of those that are available.
        ours: greenroom starts and removes it. On somebody else's, greenroom's databases are all that is dropped.
        disposable: It goes away with the run, so its databases need not be dropped one by one.
    """

    kind: ClassVar[str]
    preference: ClassVar[int]
    ours: ClassVar[bool] = True
    disposable: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in vars(cls):
            _kinds[cls.kind] = cls

    @classmethod
    @abstractmethod
    def why_not(cls, config: Config) -> str | None:
        """Why this kind is not available here, or None if it is. Quick, and changes nothing."""

    @classmethod
    def what(cls, config: Config) -> str:  # noqa: ARG003 - most are of one kind
        """What it would be, where it is available, as text for messages."""
        return "available"

    @classmethod
    @abstractmethod
    def remedy(cls, config: Config) -> str:
        """Return a hint that says how to make this kind available."""

    @classmethod
    def is_up(cls, config: Config) -> bool:  # noqa: ARG003 - not every kind can tell at once
        """Whether there is one that is up for this checkout, if that can be told in a millisecond."""
        return False

    @classmethod
    def obtain(cls, config: Config, say: Say) -> None:  # noqa: ARG003 - most kinds need nothing
        """Get what it takes to start one, such as an image from a registry.

        Raises:
            UnavailableError: That is not possible, and `why_not` says so from now on.
        """
        return

    @classmethod
    @abstractmethod
    def for_run(cls, config: Config, say: Say = silent) -> Self:
        """Return the server for one test run: the checkout's, if `up` has started it, or one that ends with the run.

        Args:
            config: The project.
            say: Takes the word that something of another run could not be removed.
        """

    @classmethod
    def for_ci(cls, config: Config, say: Say = silent) -> Self:
        """Return the server for one run in CI."""
        return cls.for_run(config, say)

    @classmethod
    @abstractmethod
    def for_checkout(cls, config: Config) -> Self:
        """Return the server that `up` starts and `down` removes."""

    @property
    @abstractmethod
    def admin(self) -> URL:
        """The maintenance database, as a role that may create databases. Known before `start`."""

    @property
    def loopback(self) -> tuple[str, int] | None:
        """The host and the port where it listens besides its socket, or None where `admin` says it all."""
        return None

    @property
    def secret(self) -> str | None:
        """What the passwords of its roles are derived from; None where it trusts whoever reaches it."""
        return str(self.admin.password) if self.admin.password else None

    @property
    @abstractmethod
    def where(self) -> str:
        """Where the server is, as text for messages."""

    @property
    def details(self) -> dict[str, str | int | None]:
        """Where it is, for a machine: `socket` (a folder), `host`, `port`, and what the kind adds."""
        socket = self.admin.query.get("host")
        host, port = self.loopback or (self.admin.host, self.admin.port or 5432)
        return {"socket": str(socket) if socket else None, "host": host, "port": port}

    @abstractmethod
    def running(self) -> bool:
        """Return whether the server answers."""

    @abstractmethod
    def start(self, say: Say) -> None:
        """Start the server if need be, and wait until it answers, for a limited time.

        Raises:
            ServerError: It does not, with the cause.
        """

    def fits(self, config: Config) -> None:  # noqa: B027 - most are what they are
        """Check that a server that runs already is what the configuration leads to.

        Raises:
            ServerError: It is another one.
        """

    def provide(self, extensions: Sequence[str]) -> None:  # noqa: B027 - most have what they have
        """Bring extensions that the server lacks, as far as they are somewhere. Creating them tells whether they are there."""

    @abstractmethod
    def stop(self) -> None:
        """Stop the server and remove its data at the end of a run, if the run started it."""

    def log(self, lines: int = LOG_LINES) -> str | None:  # noqa: ARG002 - not every kind has it
        """The last lines of the server's log, or None if it cannot be read from here."""
        return None

    @abstractmethod
    def remove(self, say: Say) -> bool:
        """Remove all that there is of this checkout, whoever started it. True if there was anything."""


class Server(Postgres):
    """A Postgres that this process can connect to."""

    @classmethod
    @abstractmethod
    def join(cls, config: Config, handle: str) -> Self:
        """The server of a run that another process manages, from that process's `handle`."""

    @property
    @abstractmethod
    def handle(self) -> str:
        """What another process of the run needs for `join`."""


class Enclosed(Postgres):
    """A Postgres that can be reached from inside its own stack only: commands and pytest run in there."""

    @abstractmethod
    def enter(self, command: Sequence[str]) -> int:
        """Run a command in the stack, at this terminal. Returns its exit code."""

    @abstractmethod
    def start_and_enter(self, command: Sequence[str], say: Say) -> int:
        """Start the stack, and run a command in it. Returns the command's exit code."""

    @abstractmethod
    def output(self, command: Sequence[str]) -> str:
        """What a command prints in the stack."""
