"""Where a command runs: here, or, if the server can be reached from inside its stack only, in there."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import wraps

from greenroom import servers
from greenroom.config import Config
from greenroom.errors import ServerError
from greenroom.output import Console
from greenroom.servers.base import Server

Command = Callable[[Config, argparse.Namespace, Console], int]


def inside(*, starts: bool = False) -> Callable[[Command], Command]:
    """Have a command run where the server can be reached.

    Args:
        starts: The command starts a server of its own if the checkout's does not run; otherwise that is an error.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(config: Config, options: argparse.Namespace, console: Console) -> int:
            kind, _why = servers.choose(config)
            if not kind.enters:
                return command(config, options, console)
            words = ["greenroom", *options.words]
            if not starts:
                return server_that_runs(config).enter(words)
            servers.obtain(config, console.say)
            return entered(kind.for_run(config), words, console)

        return run

    return decorate


def entered(server: Server, command: list[str], console: Console) -> int:
    """Run a command in a run's stack, which is started before and gone afterwards unless it was up."""
    try:
        if server.running():
            return server.enter(command)
        return server.start_and_enter(command, console.say)
    finally:
        server.stop()


def server_that_runs(config: Config) -> Server:
    """The checkout's server.

    Raises:
        ServerError: It does not run.
    """
    kind, _why = servers.choose(config)
    server = kind.for_checkout(config)
    if not server.running():
        raise ServerError(
            f"This checkout's server does not run ({server.where}).", hint="make test-up, or: greenroom up"
        )
    return server
