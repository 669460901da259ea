"""Where a command runs: here, or, if the Postgres can be reached from inside its stack only, in there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from greenroom import hints, servers
from greenroom.cli.call import Call
from greenroom.config import Config
from greenroom.errors import ServerError
from greenroom.output import Console
from greenroom.servers.base import Enclosed, Postgres, Server

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
                server = kind.for_run(call.config)
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
        if server.running():
            return server.enter(command)
        return server.start_and_enter(command, console.say)
    finally:
        server.stop()


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
