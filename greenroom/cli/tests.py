"""The command `test`: pytest, where the engine has it."""

from __future__ import annotations

import argparse
import os
import sys

from greenroom import servers
from greenroom.cli.inside import entered
from greenroom.config import Config
from greenroom.output import Console
from greenroom.processes import run


def test(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Run pytest, here or in the test stack. Returns its exit code."""
    arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    kind, why = servers.obtain(config, console.say)
    console.say(f"engine {kind.kind} ({why})")
    if kind.enters:
        return entered(kind.for_run(config), ["pytest", *arguments], console)
    os.chdir(config.root)
    return run([sys.executable, "-m", "pytest", *arguments], os.environ)
