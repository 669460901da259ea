"""Where a command runs: here, or, if the Postgres can be reached from inside its stack only, in there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec

from greenroom import hints, servers
from greenroom.cli.call import Call
from greenroom.config import Config
from greenroom.errors import ServerError
from greenroom.output import Console
from greenroom.servers.base import Enclosed, Postgres, Server

KILLED: Final = 137
"""128 plus the number of SIGKILL."""

P = ParamSpec("P")


def on_server(
    *, starts: bool = False
) -> Callable[[Callable[Concatenate[Call, Server, P], int]], Callable[Concatenate[Call, P], int]]:
    """Run a command where the server can be reached, and pass it that server.

    Args:
        starts: The command starts a server if the checkout's server does not run. Without this, that is an error.
    """

    def decorate(
        command: Callable[Concatenate[Call, Server, P], int],
    ) -> Callable[Concatenate[Call, P], int]:
        @wraps(command)
        def run(call: Call, /, *arguments: P.args, **options: P.kwargs) -> int:
            words = ["greenroom", *call.words]
            if starts:
                kind, _why = servers.obtain(call.config, call.console.say)
                server = kind.for_run(call.config, call.console.say)
            else:
                server = server_that_runs(call.config)
                server.fits(call.config)
            if not isinstance(server, Enclosed):
                assert isinstance(server, Server)
                return command(call, server, *arguments, **options)
            return entered(server, words, call.console) if starts else server.enter(words)

        return run

    return decorate


def entered(server: Enclosed, command: list[str], console: Console) -> int:
    """Run a command in a run's stack, which is started before and gone afterwards unless it was up."""
    try:
        code = server.enter(command) if server.running() else server.start_and_enter(command, console.say)
        explain_killed(code, server, console)
        return code
    finally:
        server.stop()


def explain_killed(code: int, server: Enclosed, console: Console) -> None:
    """Say what it means if a command's container was killed: Docker itself says nothing of it."""
    if code == KILLED:
        console.error(
            f"The container of the command was killed ({server.where}; exit code {KILLED}): by docker kill or docker rm -f, "
            "or because its memory ran out.",
            "docker events --since 10m --filter event=oom --filter event=kill tells which",
        )


def server_that_runs(config: Config) -> Postgres:
    """The checkout's Postgres.

    Raises:
        ServerError: The server does not run.
    """
    kind, _why = servers.choose(config, Postgres)
    server = kind.for_checkout(config)
    if not server.running():
        raise ServerError(
            f"This checkout's server is not running ({server.where}).", hint=hints.typed("greenroom up")
        )
    return server
