"""The command line. Each command is a function in a module of this folder, and is imported only when it is called.

Results go to stdout, progress and errors to stderr. Exit codes: docs/commands.md.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from greenroom import __version__, hints, signals
from greenroom.cli.call import Call
from greenroom.errors import GreenroomError
from greenroom.output import Console
from greenroom.urls import forget_libpq_environment

WRONG: Final = 2
"""The exit code if greenroom could not do its work or was called wrongly. 1 means that something was found: a test failed."""

UNREAD: Final = 141
"""128 plus the number of SIGPIPE: the output's reader has closed the pipe."""

COMMANDS: Final = {
    "Start": {
        "init": ("init:init", "Read this project, try what was found, and write [tool.greenroom]."),
        "convert": ("convert:convert", "Convert asynchronous tests to synchronous ones."),
    },
    "Tests": {
        "up": ("server:up", "Start this checkout's Postgres, migrate the template, and leave it running."),
        "test": ("tests:test", "Run pytest here, or in the test stack with the engine docker."),
        "ci": ("ci:ci", "Run pytest once, as CI does: write reports/ and leave nothing else."),
        "report": ("ci:report", "Merge the reports of all shards and check their combined coverage."),
        "status": ("server:status", "Show which servers and databases exist."),
        "logs": ("server:logs", "Print the end of the server's log."),
        "down": ("server:down", "Stop this checkout's Postgres and remove its data."),
    },
    "Databases": {
        "migrate": ("databases:migrate", "Build the template, unless it is up to date."),
        "migrations": (
            "migrations:migrations",
            "Test the migrations: up, down, and with rows in the tables.",
        ),
        "url": ("databases:url", "Print the URL of a database to look around in, at the newest migration."),
        "psql": ("databases:psql", "Open psql on that database, or on the database of a failed test."),
        "kept": ("databases:kept", "List the kept databases of failed tests."),
        "exec": ("databases:execute", "Run a command with a fresh database in its environment."),
    },
    "Docker": {
        "images": ("stacks:images", "Pull and build the images of the test stack, unless they exist."),
        "app": ("stacks:app", "Manage the application's stack: the application and its database."),
    },
    "Help": {
        "doctor": ("doctor:doctor", "Check greenroom's requirements and look for common problems."),
        "explain": ("explain:explain", "Explain the errors in a pasted traceback, from CI or production."),
        "completion": ("completion:completion", "Print the completion script for bash, zsh or fish."),
    },
}
"""By section, each command: its function (`module:function` in this folder) and what it does."""

_PLACES: Final = {name: place for section in COMMANDS.values() for name, (place, _) in section.items()}


class _Commands(click.Group):
    """All commands. Imports only the module of the command that is called: SQLAlchemy alone takes a quarter of a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _PLACES:
            return None
        module, _, function = _PLACES[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"greenroom.cli.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        ctx.obj.words = list(args)
        if args[0] not in _PLACES and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _PLACES, n=1)
            raise GreenroomError(
                f"There is no command {args[0]!r}.",
                hint=f"did you mean: greenroom {near[0]}" if near else "greenroom --help",
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the output has seen enough. Without this, the interpreter complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return UNREAD
        return code

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl([(name, said) for name, (_, said) in commands.items()])


@click.group(
    cls=_Commands,
    epilog="Greenroom reads its settings from [tool.greenroom] in pyproject.toml.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "-C", "root", type=click.Path(path_type=Path), default=Path(), metavar="FOLDER",
    help="The project, or a folder below it (default: this folder).",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Print results and errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Also print each program that greenroom runs.")
@click.version_option(__version__, message="greenroom %(version)s")
@click.pass_obj
def cli(call: Call, root: Path, quiet: bool, verbose: bool) -> None:
    """Run synchronous tests of asynchronous services, on a real and isolated Postgres."""
    if quiet and verbose:
        raise click.UsageError("Use either --quiet or --verbose, not both.")
    call.start = root
    call.listen(quiet=quiet, verbose=verbose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code.

    Args:
        arguments: The words after the program's name; by default the process's own.
    """
    call = Call()
    # What has been started is removed, also when a CI job is cancelled or the terminal is closed.
    signals.interrupt()
    if signals.called_by_make():
        signals.end_with_caller()
    forget_libpq_environment()
    try:
        code = cli.main(arguments, prog_name="greenroom", standalone_mode=False, obj=call)
    except click.Abort:
        call.console.error("interrupted")
        return signals.INTERRUPTED
    except Exception as error:
        if not _explained(error, call.console):
            raise
        return WRONG
    return code if isinstance(code, int) else 0


def _explained(error: Exception, console: Console) -> bool:
    """Print what an error means. False if it is a fault of greenroom's own, of which the traceback tells more."""
    if isinstance(error, GreenroomError):
        console.error(error.message, error.hint)
    elif isinstance(error, click.UsageError):
        words = error.ctx.command_path if error.ctx else "greenroom"
        console.error(error.format_message(), f"{words} --help")
    elif isinstance(error, click.ClickException):
        console.error(error.format_message())
    elif os.environ.get("GREENROOM_TRACEBACK"):
        return False
    elif isinstance(error, OSError) and error.strerror:
        console.error(": ".join(str(part) for part in (error.filename, error.strerror) if part))
    elif any(each.__name__ == "OperationalError" for each in type(error).__mro__):
        # Of psycopg or SQLAlchemy, which most commands need not import: a server that is full, or has gone away.
        console.error(
            f"The server could not do it, or is not there any more: {' '.join(str(error).split())}",
            f"{hints.typed('greenroom logs')}, then: {hints.typed('greenroom up')}",
        )
    else:
        return False
    return True
