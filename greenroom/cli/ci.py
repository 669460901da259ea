"""The commands for CI: ci, report."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from greenroom import servers
from greenroom.annotations import commands, wanted
from greenroom.ci.require import require
from greenroom.ci.shards import Shard
from greenroom.cli.call import PASSES, Call, examples, passed
from greenroom.cli.on_server import explain_killed
from greenroom.errors import ReportsError
from greenroom.record import FOLDER, RunRecord
from greenroom.servers.base import Enclosed


def _shard(_context: click.Context, _option: click.Parameter, text: str | None) -> Shard | None:
    try:
        return None if text is None else Shard.parse(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@click.command(
    context_settings=PASSES,
    epilog=examples("greenroom ci -x -n auto", "greenroom ci --shard 2/4 -- --cov=app"),
)
@click.option("--shard", callback=_shard, metavar="I/N", help="Run only this part of the suite, such as 2/4.")
@click.option(
    "--store-durations",
    is_flag=True,
    help="Record how long each test takes, to divide the suite into shards.",
)
@passed
@click.pass_obj
def ci(call: Call, shard: Shard | None, store_durations: bool, arguments: tuple[str, ...]) -> int:
    """Run pytest once, as CI does: write reports/ and leave nothing else.

    Passes all other options on to pytest, and everything after --.

    The exit code is pytest's, or 2 if greenroom could not run it.
    """
    if shard is not None:
        if store_durations:
            raise click.UsageError("--store-durations needs a whole run, but --shard selects a part of it.")
        require("pytest-split", "pytest_split", "--shard")
    config, console = call.config, call.console
    kind, why = servers.obtain(config, console.say)
    console.say(f"engine {kind.kind} ({why})")
    if issubclass(kind, Enclosed):
        return _in_stack(kind.for_ci(config, console.say), call, shard)
    from greenroom.ci.run import run

    return run(config, list(arguments), console, shard=shard, store_durations=store_durations)


def _in_stack(server: Enclosed, call: Call, shard: Shard | None) -> int:
    """Run the same command in a stack of its own. What the stack alone knows is added to the reports."""
    try:
        code = server.start_and_enter(["greenroom", *call.words], call.console.say)
        explain_killed(code, server, call.console)
        folder = call.config.root / FOLDER / (shard.folder if shard else "")
        if code and folder.is_dir() and (log := server.log()):
            (folder / "postgres.log").write_text(log, encoding="utf-8")
        _annotate(call, folder)
        return code
    finally:
        server.stop()


def _annotate(call: Call, folder: Path) -> None:
    """Tell GitHub, which the stack does not know of."""
    if wanted():
        with contextlib.suppress(ReportsError):
            for line in commands(RunRecord.load(folder).findings, call.config.root):
                click.echo(line)


@click.command
@click.pass_obj
def report(call: Call) -> int:
    """Merge the reports of all shards and check their combined coverage.

    The exit code is 1 if a test failed in any shard, or if the combined coverage is too low.
    """
    require("junitparser", "junitparser", "greenroom report")
    require("coverage", "coverage", "greenroom report")
    from greenroom.ci.merge import merge

    return merge(call.config.root, call.console)
