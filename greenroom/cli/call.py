"""What each command gets: the project, and a console to print to."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

import click

from greenroom import floors, processes
from greenroom.config import Config, find
from greenroom.output import Console


class Call:
    """One call of the command line.

    Attributes:
        start: The folder in or below the project.
        words: The words of the command, its name first: those that run the same in a stack.
        console: Takes progress and errors.
    """

    def __init__(self) -> None:
        self.start = Path()
        self.words: list[str] = []
        self.console = Console()

    @functools.cached_property
    def config(self) -> Config:
        """The project's configuration.

        Raises:
            ConfigError: There is none, or it is wrong.
            VersionError: A package is older than greenroom needs it.
        """
        found = find(self.start.resolve())
        floors.check()
        return found

    def listen(self, *, quiet: bool, verbose: bool) -> None:
        """Set how much is printed.

        Args:
            quiet: Print no progress.
            verbose: Also print each program that greenroom runs.
        """
        self.console = Console(quiet=quiet)
        processes.watch(self.console.say if verbose else None)


PASSES: Final[dict[str, Any]] = {"ignore_unknown_options": True}
"""The context settings of a command that passes options on: it takes its own options before `--`, and passes on the rest."""

passed = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
"""The arguments that are passed on to another program."""


def examples(*lines: str) -> str:
    """Return the end of a command's help: examples, one per line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
