"""The application's stack: what it survives."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.docker.conftest import docker
from tests.docker.stacks import Copy, inspect

pytestmark = pytest.mark.docker


class Application:
    """The application of a checkout.

    Args:
        copy: The checkout, whose stack is up.
        address: Where it answers.
    """

    def __init__(self, copy: Copy, address: str) -> None:
        self.copy = copy
        self.address = address

    def ask(self, path: str, body: object = None) -> int:
        """Send a request. Returns the status."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                status: int = response.status
        except urllib.error.HTTPError as error:
            return error.code
        return status

    def wait_until_ready(self) -> None:
        """Wait until it answers again, at the same address."""
        end = time.monotonic() + 60
        while True:
            try:
                assert self.ask("/health/ready") == 200
                return
            except (OSError, AssertionError):
                assert time.monotonic() < end, docker("logs", self.container("app"))
            time.sleep(0.1)

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.copy.container(service, "app")

    def in_server(self, code: str) -> None:
        """Run Python beside the server, whose process is `pid`."""
        find = (
            "import os, pathlib, signal\n"
            "pid, = (int(f.parent.name) for f in pathlib.Path('/proc').glob('[0-9]*/cmdline')"
            " if b'spawn_main' in f.read_bytes() and int(f.parent.name) != os.getpid())\n"
        )
        docker("exec", self.container("app"), "python", "-c", find + code)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, images: str) -> Iterator[Application]:
    """An application that is up."""
    copy = Copy(tmp_path_factory.mktemp("application") / "shop", images)
    try:
        yield Application(copy, copy.done("app", "up").split()[-1])
    finally:
        copy.run("app", "down", "--volumes")
    assert copy.left() == []


def _kill_server(application: Application) -> None:
    application.in_server("os.kill(pid, signal.SIGKILL)")


def _kill_container(service: str) -> Callable[[Application], None]:
    def kill(application: Application) -> None:
        # Not `docker kill`, after which the engine takes it that the container is to stay down.
        os.kill(inspect(application.container(service))["State"]["Pid"], 9)

    return kill


@pytest.mark.parametrize(
    "kill",
    [_kill_server, _kill_container("app"), _kill_container("postgres")],
    ids=["the server", "the reloader", "postgres"],
)
def test_killed(application: Application, kill: Callable[[Application], None]) -> None:
    """Whichever process is killed, the application soon answers again, where it did before."""
    application.wait_until_ready()
    try:
        kill(application)
    except PermissionError:
        pytest.skip("only root may kill a container's process from outside")

    application.wait_until_ready()

    assert not inspect(application.container("app"))["State"]["OOMKilled"]


def test_logins_at_once(application: Application) -> None:
    """Forty logins at once are answered: each with a refusal, or with the request to come again; memory holds."""
    application.wait_until_ready()
    server = inspect(application.container("app"))["State"]["Pid"]
    bodies = [{"email": f"{number}@example.org", "password": "wrong"} for number in range(40)]

    with ThreadPoolExecutor(40) as threads:
        statuses = Counter(threads.map(lambda body: application.ask("/api/v1/auth/login", body), bodies))

    assert set(statuses) <= {401, 429, 503}
    assert statuses[401] >= 30  # what an address may try at once; while they are hashed, some more
    state = inspect(application.container("app"))["State"]
    assert (state["Pid"], state["OOMKilled"]) == (server, False)
