"""Containers that a test starts, and that are gone after it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parents[2]
"""The checkout under test."""

LABEL = "greenroom.tests.docker"
"""On everything that these tests start."""


def run(*command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout; stderr goes where stdout goes."""
    return subprocess.run(
        command,
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def docker(*arguments: str) -> str:
    """Run docker, which does what it should; what it said."""
    result = run("docker", *arguments)
    assert result.returncode == 0, result.stdout
    return result.stdout.strip()


class Container:
    """A container that was started.

    Args:
        name: Its id.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return run("docker", "exec", *options, self.name, *command)

    def output(self, *command: str) -> str:
        """What a command says, which does what it should."""
        return docker("exec", self.name, *command)

    def psql(self, sql: str, *options: str) -> str:
        """The rows of a query, of the superuser and in the database that the container was started with."""
        shell = 'psql -qAt -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" "$@"'
        return self.output("bash", "-c", shell, "psql", "-c", sql, *options)

    def state(self) -> dict[str, Any]:
        """What Docker knows of its process."""
        state: dict[str, Any] = json.loads(docker("inspect", "--format", "{{json .State}}", self.name))
        return state

    def logs(self) -> str:
        """What it has said until now."""
        return docker("logs", self.name)

    def wait(self) -> int:
        """The exit code of a container that ends by itself."""
        return int(docker("wait", self.name))

    def wait_until_ready(self) -> None:
        """Wait until Postgres takes connections over TCP, which it does after its data directory is ready."""
        end = time.monotonic() + 30
        while self.run("pg_isready", "--quiet", "--host=127.0.0.1").returncode:
            assert self.state()["Running"], self.logs()
            assert time.monotonic() < end, self.logs()
            time.sleep(0.05)


Start = Callable[..., Container]


@pytest.fixture(scope="session")
def daemon() -> str:
    """The version of the Docker daemon; without one the test is skipped."""
    try:
        result = run("docker", "version", "--format", "{{.Server.Version}}")
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    if result.returncode:
        pytest.skip(f"no Docker daemon answers: {result.stdout.strip().splitlines()[-1]}")
    return result.stdout.strip()


@pytest.fixture(scope="session")
def offline_images(daemon: str) -> tuple[str, str]:
    """The names of the stand-ins for Python and Postgres; without them the test is skipped."""
    python, postgres = run("offline/build", "--list").stdout.split()
    for image in (python, postgres):
        if run("docker", "image", "inspect", image).returncode:
            pytest.skip(f"{image} is not built: make offline-images")
    return python, postgres


@pytest.fixture
def volumes(daemon: str) -> Iterator[list[str]]:
    """The names of volumes to remove, after the containers that have them."""
    names: list[str] = []
    yield names
    if names:
        docker("volume", "rm", *names)


@pytest.fixture
def volume(volumes: list[str]) -> str:
    """The name of an empty volume."""
    name = docker("volume", "create", f"--label={LABEL}")
    volumes.append(name)
    return name


@pytest.fixture
def start(volumes: list[str]) -> Iterator[Start]:
    """Start containers: options of docker run, the image, its command and its environment."""
    started: list[str] = []

    def start(
        *options: str, image: str, command: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> Container:
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        name = docker("run", "--detach", f"--label={LABEL}", *options, *variables, image, *command)
        started.append(name)
        return Container(name)

    yield start
    if started:
        docker("rm", "--force", "--volumes", *started)


@pytest.fixture(scope="session")
def images(daemon: str) -> str:
    """The prefix of base images that are here: the official ones', or the stand-ins'. Without any the test is skipped."""
    python, postgres = run("offline/build", "--list").stdout.split()
    for prefix in dict.fromkeys([os.environ.get("IMAGES", ""), "", "greenroom-offline/"]):
        names = (prefix + name.rpartition("/")[2] for name in (python, postgres))
        if all(run("docker", "image", "inspect", name).returncode == 0 for name in names):
            built = run(
                "env",
                f"IMAGES={prefix}",
                "GREENROOM_ENGINE=docker",
                ".venv/bin/greenroom",
                "images",
                timeout=900,
            )
            assert built.returncode == 0, built.stdout
            return prefix
    pytest.skip("there are no base images: make images, or make offline-images")
