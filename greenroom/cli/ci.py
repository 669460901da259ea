"""The commands for CI: ci, report."""

from __future__ import annotations

import argparse

from greenroom import servers
from greenroom.ci.errors import require
from greenroom.ci.shards import Shard
from greenroom.ci.staging import FOLDER
from greenroom.config import Config
from greenroom.output import Console
from greenroom.servers.base import Server


def ci(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Run pytest, or a shard of it, and write reports. Returns pytest's exit code."""
    shard = None
    if options.shard is not None:
        try:
            shard = Shard.parse(options.shard)
        except ValueError as error:
            console.error(str(error), "make ci-test SHARD=2/4, or: greenroom ci --shard 2/4 -- …")
            return 2
        if options.store_durations:
            console.error("--store-durations is for a whole run, and --shard asks for a part of it.")
            return 2
        require("pytest-split", "pytest_split", "--shard")
    require("junitparser", "junitparser", "greenroom ci")
    kind, why = servers.obtain(config, console.say)
    console.say(f"engine {kind.kind} ({why})")
    if kind.enters:
        return _in_stack(kind.for_ci(config), config, options, console, shard)
    from greenroom.ci.run import run

    arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    return run(config, arguments, console, shard=shard, store_durations=options.store_durations)


def _in_stack(
    server: Server, config: Config, options: argparse.Namespace, console: Console, shard: Shard | None
) -> int:
    """Run the same command in a stack of its own. What the stack alone knows is added to the reports."""
    try:
        code = server.start_and_enter(["greenroom", *options.words], console.say)
        folder = config.root / FOLDER / (shard.folder if shard else "")
        if code and folder.is_dir() and (log := server.log()):
            (folder / "postgres.log").write_text(log)
        return code
    finally:
        server.stop()


def report(config: Config, _options: argparse.Namespace, console: Console) -> int:
    """Merge the reports of all shards. 1 if a test failed, or the coverage of all is too low."""
    require("junitparser", "junitparser", "greenroom report")
    require("coverage", "coverage", "greenroom report")
    from greenroom.ci.merge import merge

    return merge(config.root, console)
