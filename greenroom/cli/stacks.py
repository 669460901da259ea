"""The commands about Docker's stacks: images, app."""

from __future__ import annotations

import argparse
from typing import Final

from greenroom.config import Config
from greenroom.docker import client
from greenroom.docker.client import DockerError
from greenroom.docker.images import PATIENT, Images
from greenroom.docker.stack import Stack
from greenroom.errors import ServerError
from greenroom.output import Console, timed
from greenroom.places import indented
from greenroom.servers.docker import SOCKET, user

APP_FILE: Final = "compose/app.yaml"


def images(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Pull and build the images of the test stack, unless they are there."""
    _require_docker()
    found = Images.of(config.root)
    if options.tag:
        print(found.tests)
        return 0
    found.obtain(console.say, patient=True)
    for name in (found.postgres, found.tests):
        print(name)
    return 0


def app(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Start the application's stack, or do something with it. `down` keeps the data, unless it is told `--volumes`."""
    _require_docker()
    stack = Stack(config.root, "app", [APP_FILE], variables={"GREENROOM_USER": user()})
    arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    if options.action == "up":
        return _up(stack, arguments, console)
    if options.action == "down":
        stack.compose("down", "--remove-orphans", *arguments, seconds=60)
        kept = "" if "--volumes" in arguments else "; its data is kept (ARGS=--volumes removes it)"
        console.say(f"removed the stack {stack.project}{kept}")
        return 0
    words = {
        "logs": ["logs", "--tail", "200", *arguments],
        "ps": ["ps", *arguments],
        "shell": ["exec", "app", *(arguments or ["bash"])],
        "psql": ["exec", "postgres", "psql", "--host", SOCKET, "--username", "app", *arguments],
    }[options.action]
    return stack.attached(*words)


def _up(stack: Stack, arguments: list[str], console: Console) -> int:
    with timed(console.say, f"building and starting the stack {stack.project}", "healthy"):
        stack.compose("build", "app", seconds=PATIENT)
        try:
            stack.compose("up", "--detach", "--wait", "--wait-timeout", "120", *arguments, seconds=180)
        except DockerError as error:
            log = "".join(stack.logs(service) for service in ("postgres", "migrate", "app"))
            raise DockerError(
                f"The application did not become healthy: {error.message}. The log of its stack ends:\n{indented(log)}",
                hint="make logs shows all of it; make down removes it",
            ) from None
    address = stack.compose("port", "app", "8000", seconds=client.QUICK).strip()
    console.say(f"http://{address}")
    return 0


def _require_docker() -> None:
    if reason := client.why_not():
        raise ServerError(
            f"This needs Docker, but {reason}.", hint="start Docker; the test targets do without it"
        )
