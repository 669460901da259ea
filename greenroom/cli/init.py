"""The command `init`: read a project, try what was found, and write `[tool.greenroom]`."""

from __future__ import annotations

import difflib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from greenroom.application import DEFAULT_URL
from greenroom.cli.call import Call, examples
from greenroom.docker.images import TEST_FILE
from greenroom.init import makefile, packages, stack, trial, workflow, written
from greenroom.init.json_schema import as_json
from greenroom.init.proposal import Proposal, checkout, read
from greenroom.init.section import Section, marked, table
from greenroom.init.settings import BEFORE, Settings
from greenroom.output import Console

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenroom.init.repository import Repository


@click.command(
    epilog=examples(
        "greenroom init", "greenroom init --yes", "greenroom init --diff", "greenroom -C backend init --check"
    )
)
@click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
@click.option("--dry-run", is_flag=True, help="Write nothing; print what would be written.")
@click.option("--diff", "as_diff", is_flag=True, help="Write nothing; print what would change, as a diff.")
@click.option("--check", is_flag=True, help="Write nothing; the exit code is 1 if something has drifted.")
@click.option("--app", metavar="MODULE:NAME", help="Take this application.")
@click.option(
    "--try/--no-try", "tries", default=True, help="Try what was found before it is written (default)."
)
@click.option(
    "--add/--no-add", "adds", default=True, help="Add greenroom to the project's dependencies (default)."
)
@click.option(
    "--make/--no-make", "makes", default=True, help="Write greenroom.mk if there is a Makefile (default)."
)
@click.option(
    "--workflow/--no-workflow",
    "on_github",
    default=None,
    help=f"Write {workflow.NAME}, which runs the suite in GitHub Actions (by default only if init has written it before).",
)
@click.option(
    "--compose/--no-compose",
    "on_docker",
    default=None,
    help="Write compose/, the stack with which the engine docker runs the tests (by default only if init has written it before).",
)
@click.option(
    "--schema", is_flag=True, help="Print the JSON schema of [tool.greenroom] for editors, and nothing else."
)
@click.pass_obj
def init(
    call: Call, yes: bool, dry_run: bool, as_diff: bool, check: bool, app: str | None, tries: bool, adds: bool, makes: bool,
    on_github: bool | None, on_docker: bool | None, schema: bool,
) -> int:  # fmt: skip
    """Read this project, try what was found, and write [tool.greenroom] into its pyproject.toml.

    Lines that somebody has written or changed stay as they are. A second call changes nothing.

    The exit code is 1 if what was found does not work, or, with --check, if something has drifted.
    """
    if schema:
        print(as_json())
        return 0
    call.console.say(f"reading {call.start.resolve()} …")
    start = call.start.resolve()
    if on_github is None:
        on_github = written.is_ours(checkout(start) / workflow.NAME)
    proposal = read(start, app=app, more=("ci",) if on_github else ())
    asks = not (yes or dry_run or as_diff or check) and sys.stdin.isatty()
    writes = not (dry_run or as_diff or check)
    _choose(proposal, asks=asks and app is None)
    plan = _Plan(proposal, call.console)
    if adds and writes:
        plan.add(asks=asks)
    works = plan.settle(tries=tries)
    if on_docker is None:
        on_docker = written.is_ours(proposal.root / TEST_FILE)
    files = plan.files(makes=makes, on_github=on_github, on_docker=on_docker)
    plan.show(diff=as_diff or check, files=files)
    if not writes:
        return int(not works or (check and bool(files)))
    if files and asks and not click.confirm("Write this?", default=works, err=True):
        return int(not works)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
        call.console.say(f"written: {path}")
    if not files:
        call.console.say("nothing to change")
    return int(not works)


def _choose(proposal: Proposal, *, asks: bool) -> None:
    """Ask which application it is, if several are as likely."""
    alike = [each for each in proposal.others if each.score == proposal.application.score]
    if asks and alike:
        names = [proposal.application.target, *(each.target for each in alike)]
        name = click.prompt("Which application?", type=click.Choice(names), default=names[0], err=True)
        proposal.application = next(each for each in [proposal.application, *alike] if each.target == name)


class _Plan:
    """What is to be written, and what is to be said about it.

    Args:
        proposal: What was found.
        console: Takes progress.
    """

    def __init__(self, proposal: Proposal, console: Console) -> None:
        self._proposal = proposal
        self._console = console
        self._settings: Settings | None = proposal.candidate(0, 0)
        self._result: list[str] = []
        self._path = proposal.root / "pyproject.toml"
        text = self._path.read_bytes().decode() if self._path.is_file() else ""
        self._section = Section(text)
        if not self._path.is_file():
            proposal.notes.append(f"there is no {self._path.name}: one with this section only is made")

    def add(self, *, asks: bool) -> None:
        """Add greenroom to the project's dependencies for development."""
        found = self._proposal.packages
        if found.declared:
            return
        if found.older:
            self._proposal.notes.append(
                f"greenroom would move what is locked: {', '.join(found.older)}. It was not added; to do it: {found.said}"
            )
        elif found.command is None:
            self._proposal.notes.append(f"greenroom is not among the dependencies: {found.said}")
        elif not asks or click.confirm(f"Run {found.said}?", default=True, err=True):
            self._console.say(f"running {shlex.join(found.command)} …")
            if why := packages.add(found):
                self._proposal.notes.append(f"greenroom was not added ({why}): {found.said}")
            else:
                self._section = Section(self._path.read_bytes().decode())

    def settle(self, *, tries: bool) -> bool:
        """Try the candidates. Returns whether one works, or nothing could be tried."""
        python, why = packages.interpreter(self._proposal.repository, self._proposal.root)
        if not tries or python is None:
            reason = (
                "as you asked" if not tries else f"{why}: {self._proposal.packages.said}, then greenroom init"
            )
            self._result.append(f"not tried: {reason}")
            return True
        self._console.say(f"trying it with {why} …")
        outcome = trial.run(self._proposal, python, self._console.say)
        self._settings = outcome.settings
        self._result += _said(outcome.found)
        return outcome.works or outcome.found["stage"] == "server"

    def files(self, *, makes: bool, on_github: bool, on_docker: bool) -> dict[Path, str]:
        """The files that change, with their new text."""
        assert self._settings is not None
        body = table(self._settings)
        files = {}
        if self._section.text and not self._section.ours:
            if _content(self._section.text) != _content(body):
                self._result.append(
                    f"{self._path.name} has a [tool.greenroom] that is not init's, or that was changed since: it stays as it is"
                )
        elif self._section.text.replace("\r\n", "\n").strip() != marked(body).strip():
            files[self._path] = self._section.replaced(body)
        before = self._proposal.root / BEFORE
        if self._settings.schemas and not before.is_file():
            files[before] = self._settings.before
        if makes:
            files |= makefile.files(self._proposal.root, self._proposal.packages.runs)
        if on_github:
            files |= self._whole(workflow.files, "--workflow")
        if on_docker:
            files |= self._whole(stack.files, "--compose")
        return files

    def _whole(
        self, make: Callable[[Repository, Path, packages.Packages], dict[Path, str]], option: str
    ) -> dict[Path, str]:
        """Files that init writes whole. Those that somebody else has written, or has changed since, stay as they are."""
        proposal = self._proposal
        wanted, theirs = written.changed(make(proposal.repository, proposal.root, proposal.packages), option)
        for path in theirs:
            name = proposal.repository.shown(path)
            self._result.append(f"{name} is not init's, or was changed since: it stays as it is")
        return wanted

    def show(self, *, diff: bool, files: dict[Path, str]) -> None:
        """Print what was found."""
        if diff:
            for path, content in files.items():
                name = self._proposal.repository.shown(path)
                before = path.read_text(encoding="utf-8") if path.is_file() else ""
                lines = difflib.unified_diff(
                    before.splitlines(), content.splitlines(), name, name, lineterm=""
                )
                print("\n".join(lines))
        else:
            assert self._settings is not None
            print(table(self._settings), end="")
        for line in self._result:
            self._console.say(line)
        for note in self._proposal.notes:
            self._console.say(f"note: {note}")


def _content(text: str) -> str:
    """A section's lines without comments, to compare what it says."""
    return "\n".join(
        line.partition("  #")[0].strip() for line in text.splitlines() if not line.startswith("#")
    )


def _said(found: dict[str, Any]) -> list[str]:
    """What an attempt has shown, a line each."""
    lines = []
    stage = found["stage"]
    if stage == "server":
        return [f"not tried: {found['error']}" + (f" → {found['hint']}" if found.get("hint") else "")]
    if stage == "schema":
        return [
            f"it does not work yet: {found['error']}"
            + (f"\n  → {found['hint']}" if found.get("hint") else "")
        ]
    lines.append("tried: the schema is built")
    if stage == "startup":
        return [
            *lines,
            f"it does not work yet: the application does not start up:\n{_indented(found['error'])}",
        ]
    lines.append(f"tried: the application starts up; {found['page']}")
    if stage == "engine":
        return [*lines, f"it does not work yet: its engine leads to {', '.join(found['elsewhere'])}"]
    if found["commits"]:
        lines.append("tried: its engine commits to the database of the run")
    else:
        lines.append(
            "its engine was not seen, since it makes none when it starts up: the first test that uses it will show"
        )
    if found["elsewhere"]:
        lines.append(
            f"note: another engine leads to {', '.join(found['elsewhere'])}, which greenroom refuses"
        )
    if found["failed"]:
        lines.append(f"note: an engine does not connect: {found['failed'][0]}")
    if found["others"]:
        lines.append(f"note: an engine leads to another kind of database: {', '.join(found['others'])}")
    if found["base_url"] != DEFAULT_URL:
        lines.append(
            f"note: clients call {found['base_url']}, since its TrustedHostMiddleware allows no other host"
        )
    return lines


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-12:])
