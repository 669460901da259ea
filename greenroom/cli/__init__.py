"""The command line: `greenroom up | down | status | migrate | url | psql | exec | doctor`.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 something is wrong, 2 the call is wrong;
`psql` and `exec` pass their command's on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from greenroom import __version__
from greenroom.cli import databases, doctor, server
from greenroom.config import Config, find
from greenroom.errors import GreenroomError
from greenroom.output import Console
from greenroom.urls import forget_libpq_environment

Command = Callable[[Config, argparse.Namespace, Console], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code.

    Args:
        arguments: The words after the program's name; by default the process's own.
    """
    console = Console()
    options = _parser().parse_args(arguments)
    forget_libpq_environment()
    command: Command = options.command
    try:
        return command(find(options.root.resolve()), options, console)
    except GreenroomError as error:
        console.error(error.message, error.hint)
        return 1
    except KeyboardInterrupt:
        console.error("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read the output has seen enough. Without this, the interpreter complains at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


_TEST = "a failed test's node id, or a part of it: the database that was kept of it"
_PSQL = f"{_TEST}; after -- what is passed on to psql"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="greenroom",
        description="Synchronous tests for asynchronous services, on a real and isolated Postgres.",
        epilog="The settings are in [tool.greenroom] of pyproject.toml.",
    )
    parser.add_argument("--version", action="version", version=f"greenroom {__version__}")
    parser.add_argument(
        "-C",
        dest="root",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="the project (default: this folder)",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, command: Command, description: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=description, description=description)
        added.set_defaults(command=command)
        return added

    add("up", server.up, "start this checkout's Postgres, migrate the template, and leave it running")
    add("down", server.down, "stop it and remove everything of it")
    add("status", server.status, "what runs, and which databases there are").add_argument(
        "--json", action="store_true", help="as JSON"
    )
    migrate = add("migrate", databases.migrate, "build the template, unless it is up to date")
    migrate.add_argument(
        "--status",
        action="store_true",
        help="build nothing; say what shapes the template, and whether it is there",
    )
    migrate.add_argument("--force", action="store_true", help="build it anew, also if it is up to date")
    url = add("url", databases.url, "print the URL of a database to look around in, at the newest migration")
    url.add_argument("test", nargs="?", metavar="TEST", help=_TEST)
    url.add_argument("--sync", action="store_true", help="for a synchronous engine (postgresql+psycopg)")
    url.add_argument("--libpq", action="store_true", help="for psql, pg_dump and other libpq programs")
    psql = add("psql", databases.psql, "open psql on that database")
    psql.add_argument("arguments", nargs=argparse.REMAINDER, metavar="[TEST] [-- …]", help=_PSQL)
    listed = add("kept", databases.kept, "list the databases of failed tests that were kept")
    listed.add_argument("--drop", action="store_true", help="remove them")
    execute = add("exec", databases.execute, "run a command with a fresh database in its environment")
    execute.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="the command")
    add("doctor", doctor.doctor, "check what greenroom needs, and what commonly goes wrong").add_argument(
        "--json", action="store_true", help="as JSON"
    )
    return parser
