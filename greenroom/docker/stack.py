"""One stack: the containers and volumes of one Compose project, of this checkout's files."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from greenroom import hints, runtime
from greenroom.docker import client
from greenroom.docker.client import DockerError, ask
from greenroom.places import indented
from greenroom.processes import run

START_TIMEOUT: Final = 60
"""Seconds for a container to become healthy. Postgres takes two."""

OWNER: Final = f"{os.geteuid()}@{platform.node()}"
"""The owner of a stack. The daemon may serve other users, and folders of other machines cannot be seen from here."""

CI_IMAGE: Final = "greenroom-ci"
"""The repository of the images that compose/ci.yaml builds; the tag is the project."""

_PROJECT: Final = "com.docker.compose.project"
_SERVICE: Final = "com.docker.compose.service"


class Stack:
    """A Compose project.

    Args:
        root: The checkout.
        purpose: What it is for; with the checkout's identity it is the project's name, so two checkouts never meet.
        files: Compose files, relative to the root.
        run_folder: The folder of the run that the stack belongs to, if it is a run's own.
        variables: What the files ask for, besides what every stack is told.
    """

    def __init__(
        self,
        root: Path,
        purpose: str,
        files: Sequence[str],
        *,
        run_folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.project = f"{runtime.identity(root)}-{purpose}"
        self._files = files
        self._root = root
        self._variables = {
            "GREENROOM_CHECKOUT": str(root),
            "GREENROOM_RUN_FOLDER": str(run_folder or ""),
            "GREENROOM_OWNER": OWNER,
            **(variables or {}),
        }

    # -- what there is -----------------------------------------------------------------------------------------------

    def running(self, service: str) -> bool:
        """Return whether a service is running and healthy."""
        return bool(self._containers(service, "health=healthy"))

    def logs(self, service: str, lines: int = 20) -> str:
        """Return the last lines that a service has written."""
        written = []
        for container in self._containers(service):
            # What the program writes to stderr, docker does, too.
            log = client.done(["docker", "logs", "--tail", str(lines), container], seconds=client.QUICK)
            written += [log.stdout, log.stderr]
        return "".join(written)

    # -- what it does ------------------------------------------------------------------------------------------------

    def up(self, service: str) -> None:
        """Start a service, without waiting until it is healthy."""
        self.compose("up", "--detach", "--no-build", service, seconds=START_TIMEOUT)

    def wait(self, service: str) -> None:
        """Wait until a service is healthy.

        Raises:
            DockerError: It is not, with the cause and the last lines of its log.
        """
        try:
            self._wait(service)
        except DockerError as error:
            raise DockerError(
                f"{error.message}. The end of its log:\n{indented(self.logs(service) or '(nothing)')}",
                hint=f"the settings are in compose/; {hints.without_docker()}",
            ) from None

    def _wait(self, service: str) -> None:
        """Run the service's own health check until it passes, instead of waiting for the engine to run it."""
        container = next(iter(self._containers(service)), None)
        if container is None:
            raise DockerError(f"{service} was removed before it was healthy")
        probe = json.loads(ask("inspect", "--format", "{{json .Config.Healthcheck.Test}}", container))
        words = ["sh", "-c", probe[1]] if probe[0] == "CMD-SHELL" else probe[1:]
        end = time.monotonic() + START_TIMEOUT
        while True:
            tried = client.done(["docker", "exec", container, *words], seconds=client.QUICK)
            if tried.returncode == 0:
                return
            state = ask("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container).split()
            if state[0] != "running":
                raise DockerError(f"{service} ended with exit code {state[1]} before it was healthy")
            if time.monotonic() > end:
                raise DockerError(f"{service} did not become healthy within {START_TIMEOUT} s")
            time.sleep(0.02)  # until it is tried again: nothing tells when a server is up

    def run(self, service: str, command: Sequence[str], *, waits_for: str | None = None) -> int:
        """Run a command in a new container of a service, at this terminal. Returns its exit code.

        Ctrl-C and SIGTERM interrupt the command, which then ends in its own way; a second one kills it.

        Args:
            service: The service.
            command: The program and its arguments.
            waits_for: A service that is starting, and that the command waits for by itself; ended if that does not get up.

        Raises:
            DockerError: The other service did not become healthy.
        """
        name = f"{self.project}-{service}-{secrets.token_hex(3)}"
        # Ctrl-C at a terminal goes to the container's own one. Otherwise Compose, told to end, would leave at once and
        # have the container killed.
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        words = ["run", "--rm", "--no-deps", "--name", name, *([] if terminal else ["--no-TTY"])]
        signals = iter(["INT"])

        def interrupt() -> None:
            with contextlib.suppress(DockerError):
                ask("kill", "--signal", next(signals, "KILL"), name)

        with self._watched(waits_for, name) if waits_for else contextlib.nullcontext():
            return run(
                self._words(*words, service, *command),
                client.environment(self._variables),
                interrupt=None if terminal else interrupt,
            )

    @contextlib.contextmanager
    def _watched(self, service: str, container: str) -> Iterator[None]:
        """Kill a container if a service that it waits for does not become healthy. Then raise that error."""
        failures = []
        over = threading.Event()

        def watch() -> None:
            try:
                self.wait(service)
            except DockerError as error:
                failures.append(error)
                # It may not have been made yet.
                while not over.wait(0.1):
                    with contextlib.suppress(DockerError):
                        ask("kill", container)

        watcher = threading.Thread(target=watch, name="greenroom-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join(client.QUICK)
        if failures:
            raise failures[0]

    def output(self, service: str, command: Sequence[str]) -> str:
        """Run a command in a new container of a service. Returns what it prints.

        It is read from the container's log: what an attached client prints may end before the output does
        (moby/moby#43121, #49655), and a program takes nothing for an answer.

        Raises:
            DockerError: The command failed, or took more than `START_TIMEOUT`.
        """
        name = f"{self.project}-{service}-{secrets.token_hex(3)}"
        try:
            self.compose(
                "run", "--detach", "--no-deps", "--name", name, service, *command, seconds=START_TIMEOUT
            )
            code = ask("wait", name, seconds=START_TIMEOUT)
            log = client.done(["docker", "logs", name], seconds=client.QUICK)
        finally:
            with contextlib.suppress(DockerError):
                ask("rm", "--force", "--volumes", name)
        if code != "0" or log.returncode:
            raise client.explained(["compose", "run", *command], log.stderr or log.stdout)
        return log.stdout

    def compose(self, *arguments: str, seconds: float) -> str:
        """Run a `docker compose` command. Returns what it prints."""
        result = client.done(self._words(*arguments), environ=self._variables, seconds=seconds)
        if result.returncode:
            raise client.explained(["compose", arguments[0]], result.stderr or result.stdout)
        return result.stdout

    def attached(self, *arguments: str) -> int:
        """Run a `docker compose` command at this terminal. Returns its exit code."""
        return run(self._words(*arguments), client.environment(self._variables))

    def remove(self) -> bool:
        """Remove everything with the project's name, including its data. Returns whether there was anything."""
        return remove(self.project)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _words(self, *arguments: str) -> list[str]:
        files = [word for file in self._files for word in ("--file", str(self._root / file))]
        # A .env file beside the sources is the application's; Compose would take its own settings from it.
        return [
            "docker", "compose", "--project-name", self.project, "--env-file", os.devnull,
            "--progress", "plain", *files, *arguments,
        ]  # fmt: skip

    def _containers(self, service: str, *filters: str) -> list[str]:
        labels = [f"label={_PROJECT}={self.project}", f"label={_SERVICE}={service}"]
        return ask("ps", "--all", "--quiet", *_filters(*labels, *filters)).split()


def remove(project: str) -> bool:
    """Remove the containers, networks and volumes of a Compose project. Returns whether there were any.

    Not `compose down`: that needs the files the project was made from, and passes over containers that `run` made.
    """
    mine = _filters(f"label={_PROJECT}={project}")
    end = time.monotonic() + START_TIMEOUT
    found = False
    while True:
        there, trouble = False, None
        # A volume is free when its containers are gone. Nothing in here is worth an orderly shutdown.
        for kind, listing, removal in (
            ("container", ("ls", "--all"), ("rm", "--force", "--volumes")),
            ("network", ("ls",), ("rm",)),
            ("volume", ("ls",), ("rm", "--force")),
        ):
            names = ask(kind, *listing, "--quiet", *mine).split()
            if names:
                there = True
                try:
                    ask(kind, *removal, *names, seconds=START_TIMEOUT)
                except DockerError as error:
                    trouble = error
        found |= there
        if not there:
            return found | _remove_images(project)
        # Somebody else may be removing the same: a container that ends, another run that sweeps.
        if trouble and time.monotonic() > end:
            raise trouble


def _remove_images(project: str) -> bool:
    """Remove the image that was built for a run. Its layers stay in the build cache."""
    image = f"{CI_IMAGE}:{project}"
    if not ask("image", "ls", "--quiet", image):
        return False
    ask("image", "rm", "--force", image)
    return True


def projects(label: str) -> dict[str, str]:
    """Return a label's value by project, for all of this user's stacks on this daemon."""
    mine = _filters(f"label=greenroom.owner={OWNER}")
    template = f'{{{{.Label "{_PROJECT}"}}}}\t{{{{.Label "{label}"}}}}'
    lines = []
    for listing in (("container", "ls", "--all"), ("volume", "ls")):
        lines += ask(*listing, "--format", template, *mine).splitlines()
    template = f'{{{{index .Config.Labels "{label}"}}}}'
    for tag in ask("image", "ls", "--format", "{{.Tag}}", *mine, CI_IMAGE).split():
        # It may be gone by now: its run has ended.
        with contextlib.suppress(DockerError):
            lines.append(f"{tag}\t{ask('image', 'inspect', '--format', template, f'{CI_IMAGE}:{tag}')}")
    return {project: value for project, _tab, value in (line.partition("\t") for line in lines)}


def _filters(*filters: str) -> list[str]:
    return [word for one in filters for word in ("--filter", one)]
