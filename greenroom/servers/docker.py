"""The Postgres of the test stack, in a container without a network. What uses it runs in a container beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from greenroom import hints, run_folder, runtime
from greenroom.docker import client, images, stack
from greenroom.docker.client import DockerError
from greenroom.docker.images import CI_FILE, PATIENT, TEST_FILE, Images
from greenroom.docker.stack import Stack
from greenroom.errors import GreenroomError, UnavailableError
from greenroom.output import silent, timed
from greenroom.record import FOLDER
from greenroom.servers.address import LOOPBACK
from greenroom.servers.base import LOG_LINES, Enclosed
from greenroom.signals import uninterrupted

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say

SOCKET: Final = "/var/run/postgresql"
"""Where the containers of a stack find the database."""

PORT: Final = 5432
"""On the loopback of the stack's network namespace."""

_KEPT: Final = "test"
_SERVICE: Final = "postgres"


class Docker(Enclosed):
    """The stack of compose/test.yaml: started by `up` and kept for the checkout, or by a run and removed at its end.

    Args:
        config: The project.
        lock: The lock on the run's folder, if the stack is a run's own.
        ci: The sources are in the image, as they are, and only the reports come out.
    """

    kind = "docker"
    preference = 50

    def __init__(self, config: Config, lock: IO[str] | None = None, *, ci: bool = False) -> None:
        self.disposable = lock is not None
        self._lock = lock
        self._ci = ci
        self._folder = Path(lock.name).parent if lock is not None else None
        variables = {
            "GREENROOM_TESTS_IMAGE": Images.of(config).tests,
            **images.chosen(config),
            "GREENROOM_FOLDER": str(config.root),
            "GREENROOM_MOUNT": f"{config.root}:{config.root}",
            "GREENROOM_USER": user(),
            "GREENROOM_INSIDE": self.kind,
            # With a network of its own the container does not have the database's loopback.
            "GREENROOM_SERVER_LOOPBACK": "" if os.environ.get("NETWORK") else f"{LOOPBACK}:{PORT}",
        }
        if ci:
            reports = config.root / FOLDER
            reports.mkdir(exist_ok=True)
            variables |= {"GREENROOM_FOLDER": "/src", "GREENROOM_MOUNT": f"{reports}:/src/{FOLDER}"}
        self._stack = Stack(
            config.root,
            self._folder.name if self._folder is not None else _KEPT,
            [TEST_FILE, CI_FILE] if ci else [TEST_FILE],
            run_folder=self._folder,
            variables=variables,
        )

    @classmethod
    def why_not(cls, config: Config) -> str | None:
        """It is available where a daemon answers and the images are there, or have not been missed lately."""
        if not (config.root / TEST_FILE).is_file():
            return f"there is no {TEST_FILE}"
        if reason := client.why_not():
            return reason
        if config.engine != cls.kind:
            try:
                return Images.of(config).failed_lately()
            except DockerError as error:
                return error.message
        return None

    @classmethod
    def remedy(cls, config: Config) -> str:
        """Return a hint: start a daemon, or add the Compose file."""
        if not (config.root / TEST_FILE).is_file():
            return f"greenroom init --compose writes it; or use {hints.engine('embedded')}"
        return f"start Docker; {hints.without_docker()}"

    @classmethod
    def obtain(cls, config: Config, say: Say) -> None:
        """Get the images. With `engine = "auto"` not at any price."""
        try:
            Images.of(config).obtain(say, patient=config.engine == cls.kind)
        except DockerError as error:
            raise UnavailableError(error.message, hint=error.hint) from None

    @classmethod
    def for_run(cls, config: Config, say: Say = silent) -> Self:
        """Return the checkout's stack if it is running, or a new one."""
        kept = cls.for_checkout(config)
        if kept.running():
            return kept
        sweep(say)
        return cls(config, run_folder.new(runtime.folder(config.root)))

    @classmethod
    def for_ci(cls, config: Config, say: Say = silent) -> Self:
        """Return a new stack, with the sources in its image."""
        sweep(say)
        return cls(config, run_folder.new(runtime.folder(config.root)), ci=True)

    @classmethod
    def for_checkout(cls, config: Config) -> Self:
        """The checkout's stack."""
        return cls(config)

    @property
    def admin(self) -> URL:
        """The maintenance database, as it is reached in the stack."""
        from sqlalchemy import URL

        return URL.create(
            "postgresql+psycopg",
            username="postgres",
            database="postgres",
            query={"host": SOCKET},
        )

    @property
    def loopback(self) -> tuple[str, int]:
        """That of the network namespace which the containers of the stack share."""
        return LOOPBACK, PORT

    @property
    def where(self) -> str:
        """The Compose project."""
        return f"Compose project {self._stack.project}"

    @property
    def details(self) -> dict[str, str | int | None]:
        """Its socket's folder inside the stack, and the Compose project."""
        return super().details | {"project": self._stack.project}

    def running(self) -> bool:
        """Return whether its container is healthy."""
        return self._stack.running(_SERVICE)

    def start(self, say: Say) -> None:
        """Start the stack, and wait until its server is healthy. If it does not start, remove it."""
        with self._removed_if_it_fails(say):
            self._begin(say)
            self._stack.wait(_SERVICE)

    def start_and_enter(self, command: Sequence[str], say: Say) -> int:
        """Start the server and the command at the same time, since both take equally long. The command waits for the server."""
        with self._removed_if_it_fails(say):
            self._begin(say)
            return self._stack.run("tests", command, waits_for=_SERVICE)

    def _begin(self, say: Say) -> None:
        if self._ci:
            with timed(say, "building the image of this run, with the sources in it", "built"):
                self._stack.compose("build", "tests", seconds=PATIENT)
        say(f"starting {_SERVICE} in the stack {self._stack.project} …")
        self._stack.up(_SERVICE)

    @contextlib.contextmanager
    def _removed_if_it_fails(self, say: Say) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with uninterrupted():
                try:
                    self._stack.remove()
                except DockerError as error:
                    # Why it did not start is what counts.
                    say(
                        f"{self.where} is not completely removed ({error.message}); {hints.typed('greenroom down')} tries again"
                    )
            raise

    def stop(self) -> None:
        """Remove the stack if it is this run's own."""
        if self._lock is not None and self._folder is not None:
            with uninterrupted(), self._lock:
                self._stack.remove()
                shutil.rmtree(self._folder, ignore_errors=True)
                runtime.tidy(self._folder.parent)
            self._lock = None

    def log(self, lines: int = LOG_LINES) -> str | None:
        """Return the last lines that the container has written."""
        return self._stack.logs(_SERVICE, lines)

    def remove(self, say: Say) -> bool:
        """Remove the checkout's stack, and everything left behind by killed runs."""
        swept = sweep(say)
        for project in swept:
            say(f"removed {project}, left behind by a killed run")
        found = self._stack.remove()
        if found:
            say(f"removed {self.where}")
        return found or bool(swept)

    def enter(self, command: Sequence[str]) -> int:
        """Run a command in a container of the stack, at this terminal."""
        return self._stack.run("tests", command)

    def output(self, command: Sequence[str]) -> str:
        """Run a command in a container of the stack. Returns what it prints."""
        return self._stack.output("tests", command)


def sweep(say: Say = silent) -> list[str]:
    """Remove the stacks of killed runs and of deleted checkouts. Returns their projects.

    Only those of this user's own: each names the file that its owner holds locked. What cannot be removed is no reason for
    not running: it is said, and the next sweep tries again.
    """
    swept = []
    dead = [
        *((project, folder, True) for project, folder in stack.projects("greenroom.run_folder").items()),
        *((project, folder, False) for project, folder in stack.projects("greenroom.checkout").items()),
    ]
    for project, named, of_run in dead:
        try:
            if named and (
                _remove_run(project, Path(named)) if of_run else _remove_gone(project, Path(named))
            ):
                swept.append(project)
        except (GreenroomError, OSError) as error:
            say(f"{project}, left behind by a killed run, could not be removed: {error}")
    return swept


def _remove_run(project: str, folder: Path) -> bool:
    """Remove a run's stack, unless the run is alive."""
    with contextlib.ExitStack() as ended:
        if (folder / run_folder.FILE).exists():
            lock = run_folder.take(folder)
            if lock is None:
                return False
            ended.enter_context(lock)
        found = stack.remove(project)
        shutil.rmtree(folder, ignore_errors=True)
        runtime.tidy(folder.parent)
    return found


def _remove_gone(project: str, checkout: Path) -> bool:
    """Remove a stack whose checkout is gone."""
    return not checkout.exists() and stack.remove(project)


def user() -> str:
    """Return the user and group that a container runs as, so that the caller owns the files that it writes."""
    # Rootless, the caller is root in the container, and every other number there is somebody else out here.
    return "0:0" if os.geteuid() and client.rootless() else f"{os.geteuid()}:{os.getegid()}"
