"""The command `test`: run pytest here, or in the test stack."""

from __future__ import annotations

import os
import sys

import click

from greenroom import servers
from greenroom.cli.call import PASSES, Call, examples, passed
from greenroom.cli.on_server import entered
from greenroom.processes import run
from greenroom.servers.base import Enclosed


@click.command(
    context_settings=PASSES,
    epilog=examples("greenroom test -x -k login", "greenroom test tests/api -n auto --cov=app"),
)
@passed
@click.pass_obj
def test(call: Call, arguments: tuple[str, ...]) -> int:
    """Run pytest here, or in the test stack with the engine docker.

    Passes all arguments on to pytest; `greenroom test -- --help` prints pytest's own help.

    The exit code is pytest's, or 2 if greenroom could not run it.
    """
    kind, why = servers.obtain(call.config, call.console.say)
    call.console.say(f"engine {kind.kind} ({why})")
    if issubclass(kind, Enclosed):
        return entered(kind.for_run(call.config, call.console.say), ["pytest", *arguments], call.console)
    os.chdir(call.config.root)
    return run([sys.executable, "-m", "pytest", *arguments], os.environ)
