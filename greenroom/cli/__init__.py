"""The command line. Each command is a function of a module of this folder.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 something is wrong, 2 the call is wrong;
`psql` and `exec` pass their command's on.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from greenroom import __version__
from greenroom.config import find
from greenroom.errors import GreenroomError
from greenroom.output import Console
from greenroom.urls import forget_libpq_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code.

    Args:
        arguments: The words after the program's name; by default the process's own.
    """
    console = Console()
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    options.words = words[words.index(options.name) :]
    # What has been started is removed, also when a CI job is cancelled or the terminal is closed (nohup says otherwise).
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    forget_libpq_environment()
    # Only what this command needs: SQLAlchemy alone takes a quarter of a second to import.
    module, _, function = options.command.partition(":")
    try:
        command = getattr(importlib.import_module(f"greenroom.cli.{module}"), function)
        code: int = command(None if options.anywhere else find(options.root.resolve()), options, console)
        return code
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


_APP = ("up", "down", "logs", "ps", "shell", "psql")
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

    def add(name: str, command: str, description: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=description, description=description)
        added.set_defaults(command=command, name=name, anywhere=False)
        return added

    add("up", "server:up", "start this checkout's Postgres, migrate the template, and leave it running")
    add("down", "server:down", "stop it and remove everything of it")
    add("status", "server:status", "what runs, and which databases there are").add_argument(
        "--json", action="store_true", help="as JSON"
    )
    add("test", "tests:test", "run pytest where the engine has it: here, or in the test stack").add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="-- …", help="what is passed on to pytest"
    )
    ci = add("ci", "ci:ci", "run pytest once, as CI does: reports in reports/, nothing left behind")
    ci.add_argument("--shard", metavar="I/N", help="run this part of the suite only, such as 2/4")
    ci.add_argument(
        "--store-durations",
        action="store_true",
        help="record how long each test takes, by which shards are cut",
    )
    ci.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- …", help="what is passed on to pytest")
    add("report", "ci:report", "merge the reports of all shards, and check the coverage of all together")
    add("logs", "server:logs", "print the end of the server's log").add_argument(
        "--lines", type=int, default=200, metavar="N", help="how many lines (default: 200)"
    )
    images = add(
        "images", "stacks:images", "pull and build the images of the test stack, unless they are there"
    )
    images.add_argument("--tag", action="store_true", help="only print the name of the image of the suite")
    app = add("app", "stacks:app", "the application's stack: itself, with a database of its own")
    app.add_argument("action", choices=_APP, help="what to do with it")
    app.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- …", help="what is passed on")
    migrate = add("migrate", "databases:migrate", "build the template, unless it is up to date")
    migrate.add_argument(
        "--status",
        action="store_true",
        help="build nothing; say what shapes the template, and whether it is there",
    )
    migrate.add_argument("--force", action="store_true", help="build it anew, also if it is up to date")
    url = add(
        "url", "databases:url", "print the URL of a database to look around in, at the newest migration"
    )
    url.add_argument("test", nargs="?", metavar="TEST", help=_TEST)
    url.add_argument("--sync", action="store_true", help="for a synchronous engine (postgresql+psycopg)")
    url.add_argument("--libpq", action="store_true", help="for psql, pg_dump and other libpq programs")
    psql = add("psql", "databases:psql", "open psql on that database")
    psql.add_argument("arguments", nargs=argparse.REMAINDER, metavar="[TEST] [-- …]", help=_PSQL)
    listed = add("kept", "databases:kept", "list the databases of failed tests that were kept")
    listed.add_argument("--drop", action="store_true", help="remove them")
    execute = add("exec", "databases:execute", "run a command with a fresh database in its environment")
    execute.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- COMMAND …", help="the command")
    add("doctor", "doctor:doctor", "check what greenroom needs, and what commonly goes wrong").add_argument(
        "--json", action="store_true", help="as JSON"
    )
    explained = add(
        "explain", "explain:explain", "explain the errors in a pasted traceback, of CI or of production"
    )
    explained.set_defaults(anywhere=True)
    explained.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the text (default: what comes on stdin)"
    )
    explained.add_argument(
        "--about",
        metavar="SECTION",
        help="print what the documentation says about an error, such as lazy-load",
    )
    return parser
