"""The commands about Docker's stacks: images, app."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final

import click

from greenroom import hints
from greenroom.cli.call import PASSES, Call, examples, passed
from greenroom.docker import client
from greenroom.docker.client import DockerError
from greenroom.docker.images import PATIENT, Images, chosen
from greenroom.docker.stack import Stack
from greenroom.errors import ServerError
from greenroom.output import Console, timed
from greenroom.places import indented
from greenroom.servers.docker import SOCKET, user

APP_FILE: Final = "compose/app.yaml"


@click.command
@click.option("--tag", is_flag=True, help="Only print the name of the suite's image.")
@click.pass_obj
def images(call: Call, tag: bool) -> int:
    """Pull and build the images of the test stack, unless they exist."""
    _require_docker()
    found = Images.of(call.config)
    if tag:
        print(found.tests)
        return 0
    found.obtain(call.console.say, patient=True)
    for name in (found.postgres, found.tests):
        print(name)
    return 0


@click.group(
    epilog=examples("greenroom app up", "greenroom app logs --follow", "greenroom app down --volumes")
)
def app() -> None:
    """Manage the application's stack: the application and its database."""


@app.command(context_settings=PASSES)
@passed
@click.pass_obj
def up(call: Call, arguments: tuple[str, ...]) -> int:
    """Build and start the stack. Passes arguments on to `docker compose up`."""
    port = os.environ.get("PORT") or _port(_stack(call))
    return _up(_stack(call, PORT=port), arguments, call.console)


@app.command(context_settings=PASSES)
@click.option("-v", "--volumes", is_flag=True, help="Also remove the stack's data.")
@passed
@click.pass_obj
def down(call: Call, volumes: bool, arguments: tuple[str, ...]) -> int:
    """Stop the stack and keep its data. Passes arguments on to `docker compose down`."""
    stack = _stack(call)
    stack.compose("down", "--remove-orphans", *["--volumes"][: int(volumes)], *arguments, seconds=60)
    kept = "" if volumes else f"; its data is kept ({hints.typed('greenroom app down --volumes')} removes it)"
    call.console.say(f"removed the stack {stack.project}{kept}")
    return 0


def _goes_on(name: str, words: list[str], said: str, default: tuple[str, ...] = ()) -> None:
    @app.command(name, help=said, context_settings=PASSES)
    @passed
    @click.pass_obj
    def command(call: Call, arguments: tuple[str, ...]) -> int:
        return _stack(call).attached(*words, *(arguments or default))


_goes_on(
    "logs",
    ["logs", "--tail", "200"],
    "Print the end of the stack's logs. Passes arguments on to `docker compose logs`.",
)
_goes_on("ps", ["ps"], "List the stack's containers. Passes arguments on to `docker compose ps`.")
_goes_on(
    "shell",
    ["exec", "app"],
    "Open a shell in the application's container, or run a command there.",
    ("bash",),
)
_goes_on(
    "psql",
    ["exec", "postgres", "psql", "--host", SOCKET, "--username", "app"],
    "Open psql on the application's database. Passes arguments on to psql.",
)


def _stack(call: Call, **variables: str) -> Stack:
    if not (call.config.root / APP_FILE).is_file():
        raise ServerError(
            f"There is no {APP_FILE} in {call.config.root}, which defines the application's stack."
        )
    _require_docker()
    return Stack(
        call.config.root,
        "app",
        [APP_FILE],
        variables={"GREENROOM_USER": user(), **chosen(call.config), **variables},
    )


def _port(stack: Stack) -> str:
    """The port on which the application is published, else a free one.

    The engine would choose one, too, but another one each time that it starts the container again.
    """
    with contextlib.suppress(DockerError):  # it is not running
        return stack.compose("port", "app", "8000", seconds=client.QUICK).strip().rpartition(":")[2]
    with socket.create_server(("127.0.0.1", 0)) as found:
        return str(found.getsockname()[1])


def _up(stack: Stack, arguments: tuple[str, ...], console: Console) -> int:
    with timed(console.say, f"building and starting the stack {stack.project}", "healthy"):
        stack.compose("build", "app", seconds=PATIENT)
        try:
            stack.compose("up", "--detach", "--wait", "--wait-timeout", "120", *arguments, seconds=180)
        except DockerError as error:
            log = "".join(stack.logs(service) for service in ("postgres", "migrate", "app"))
            raise DockerError(
                f"The application did not become healthy: {error.message}. The end of its stack's log:\n{indented(log)}",
                hint=f"{hints.typed('greenroom app logs')} shows all of it; {hints.typed('greenroom app down')} removes it",
            ) from None
    address = stack.compose("port", "app", "8000", seconds=client.QUICK).strip()
    console.say(f"http://{address}")
    return 0


def _require_docker() -> None:
    if reason := client.why_not():
        raise ServerError(
            f"This needs Docker, but {reason}.", hint="start Docker; the commands for tests work without it"
        )
