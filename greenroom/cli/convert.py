"""The command `convert`: asynchronous tests become synchronous ones."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from greenroom.cli.call import Call, examples
from greenroom.config import find
from greenroom.errors import ConfigError, GreenroomError
from greenroom.output import Console

if TYPE_CHECKING:
    from greenroom.convert.checking.verify import Verdict
    from greenroom.convert.converting import Conversion
    from greenroom.convert.planning.plan import Stays

_INSTALL: Final = "pip install 'greenroom[convert]'"

_SHOWN: Final = 5
"""Lines that are shown of those that say the same."""

_FOLDERS: Final = ("tests", "test")

_MOST: Final = {"differences": 50, "lines": 10}
"""How many of them are printed."""


@click.command(
    epilog=examples(
        "greenroom convert --diff",
        "greenroom convert tests/api",
        "greenroom convert tests/test_users.py::test_create",
        "greenroom convert --check",
        "greenroom convert --verify tests/api",
    )
)
@click.argument("paths", nargs=-1, metavar="[PATH | FILE::TEST]...")
@click.option("--diff", "as_diff", is_flag=True, help="Write nothing; print what would change, as a diff.")
@click.option(
    "--check", is_flag=True, help="Write nothing; the exit code is 1 if something would be converted."
)
@click.option(
    "--isolation",
    is_flag=True,
    help="Also replace the suite's own isolation (savepoints, create_all, overrides) by greenroom's.",
)
@click.option(
    "--verify", is_flag=True, help="Run the tests before and after; put the files back if a test is worse."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_obj
def convert(
    call: Call,
    paths: tuple[str, ...],
    as_diff: bool,
    check: bool,
    isolation: bool,
    verify: bool,
    as_json: bool,
) -> int:
    """Convert asynchronous tests, fixtures and helpers to synchronous ones: files, folders, classes, or single tests.

    Without a PATH it converts the folder tests. What cannot be converted surely stays as it is, and is listed with its
    line and the reason; greenroom runs it with async_tests = true. Tests, assertions, raises and marks are counted
    before and after: a file that would lose one of them is not written. A second call changes nothing.

    The exit code is 1 if a file could not be read, with --check if something would be converted, and with --verify if a
    test would be worse.
    """
    if verify and (as_diff or check):
        raise click.UsageError(
            "--verify runs the converted tests, and --diff and --check write none: use one of them."
        )
    try:
        from greenroom.convert.converting import convert as conversion
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "libcst":
            raise
        raise GreenroomError(
            "greenroom convert needs LibCST, which is not installed.", hint=_INSTALL
        ) from None
    start = call.start.resolve()
    root, app, runs_async = _project(start, configured=verify)
    targets, only = _targets(paths, start)
    call.console.say(f"reading {', '.join(_shown(each, start) for each in targets)} …")
    found = conversion(root, targets, app=app, only=only, isolation=isolation)
    writes = not (as_diff or check)
    verdict = None
    if verify:
        from greenroom.convert.checking.verify import verified

        if found.files:
            verdict = verified(root, app, targets, found.files, call.console.say)
            writes = verdict.holds
    elif writes:
        for path, (_before, after) in found.files.items():
            path.write_bytes(after)
    if as_json:
        print(json.dumps(_as_json(found, root) | _verdict_as_json(verdict), indent=2))
    elif as_diff:
        for path, (before, after) in found.files.items():
            name = _shown(path, root)
            old, new = (each.decode(errors="replace").splitlines() for each in (before, after))
            print("\n".join(difflib.unified_diff(old, new, name, name, lineterm="")))
    if not as_json:
        _tell(found, root, call.console, writes=writes, runs_async=runs_async)
        if verdict is not None:
            _tell_verdict(verdict, call.console)
    worse = verdict is not None and not verdict.holds
    return int(bool(found.broken) or worse or (check and bool(found.files)))


def _project(start: Path, *, configured: bool) -> tuple[Path, str, bool]:
    """The project's folder, its application, and whether greenroom runs asynchronous tests there.

    Raises:
        ConfigError: It has to be configured, and is not.
    """
    try:
        config = find(start)
    except ConfigError:
        if configured:
            raise
        root = next((each for each in (start, *start.parents) if (each / "pyproject.toml").is_file()), start)
        return root, "", False
    return config.root, config.app, config.async_tests


def _targets(paths: tuple[str, ...], start: Path) -> tuple[list[Path], frozenset[tuple[Path, str]]]:
    """The files and folders to convert, and the tests if only some are."""
    if not paths:
        found = next((start / each for each in _FOLDERS if (start / each).is_dir()), None)
        if found is None:
            raise GreenroomError(
                f"There is no folder {' or '.join(_FOLDERS)} in {start}.",
                hint="name it: greenroom convert FOLDER",
            )
        return [found], frozenset()
    targets, only = [], set()
    for each in paths:
        name, _, test = each.partition("::")
        targets.append((start / name).resolve())
        if test:
            only.add((targets[-1], test.partition("[")[0]))
    if only and any("::" not in each for each in paths):
        raise GreenroomError("Name either tests or whole files and folders, not both.")
    return targets, frozenset(only)


def _tell(found: Conversion, root: Path, console: Console, *, writes: bool, runs_async: bool) -> None:
    """Say what has become of the suite."""
    word = "converted" if writes else "would be converted"
    for path in found.files:
        console.say(f"{word}: {_shown(path, root)}")
    for path, reason in found.broken.items():
        console.error(f"{_shown(path, root)} stays as it is: {reason}")
    stays = [
        (each.reason, f"stays asynchronous: {_place(each, root)}: {each.function.title}: {each.reason}")
        for each in found.stays
    ]
    notes = [(note, f"note: {note} ({place})") for note, place in found.notes]
    for said, lines in _grouped([*stays, *notes]).items():
        for line in lines[:_SHOWN]:
            console.say(line)
        if len(lines) > _SHOWN:
            console.say(f"and {len(lines) - _SHOWN} more (--json lists all): {said}")
    if not found.files:
        console.say("nothing to convert")
        return
    others = found.functions - found.tests
    console.say(
        f"{found.tests} tests and {others} fixtures and helpers are synchronous {'now' if writes else 'then'}; "
        f"before: {found.before}; after: {found.after}"
    )
    if found.stays and not runs_async:
        console.say("note: what stays asynchronous needs async_tests = true in [tool.greenroom]")


def _tell_verdict(verdict: Verdict, console: Console) -> None:
    """Print the tests whose outcomes differ, and the lines of the application that are not run any more."""
    for each in verdict.differences[: _MOST["differences"]]:
        print(f"{'worse' if each.worse else 'differs'}: {each}")
    if (more := len(verdict.differences) - _MOST["differences"]) > 0:
        print(f"… and {more} more tests")
    for line in verdict.uncovered[: _MOST["lines"]]:
        print(f"not run any more: {line}")
    if (more := len(verdict.uncovered) - _MOST["lines"]) > 0:
        print(f"… and {more} more lines")
    hint = "greenroom convert --diff shows what was tried; convert file by file what holds"
    if verdict.after.problem:
        console.error(
            f"The converted tests do not run: {verdict.after.problem}\nEverything is as it was.", hint
        )
    elif verdict.worse:
        which = (
            "1 test is worse when it is"
            if verdict.worse == 1
            else f"{verdict.worse} tests are worse when they are"
        )
        console.error(f"{which} converted. Everything is as it was.", hint)
    else:
        console.say(f"verified: {len(verdict.before.outcomes)} tests, none is worse")


def _verdict_as_json(verdict: Verdict | None) -> dict[str, object]:
    if verdict is None:
        return {}
    return {
        "verified": {
            "holds": verdict.holds,
            "seconds": [round(verdict.before.seconds, 1), round(verdict.after.seconds, 1)],
            "problem": verdict.after.problem,
            "differences": [
                {
                    "test": each.test,
                    "before": each.before,
                    "after": each.after,
                    "worse": each.worse,
                    "reason": each.reason,
                }
                for each in verdict.differences
            ],
            "uncovered": verdict.uncovered,
        }
    }


def _grouped(lines: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The lines that say the same, by what they say."""
    found: dict[str, list[str]] = {}
    for said, line in lines:
        found.setdefault(said, []).append(line)
    return found


def _place(stays: Stays, root: Path) -> str:
    return f"{_shown(stays.function.module.path, root)}:{stays.line}"


def _as_json(found: Conversion, root: Path) -> dict[str, object]:
    return {
        "files": [_shown(path, root) for path in found.files],
        "tests": found.tests,
        "functions": found.functions,
        "before": found.before.as_json(),
        "after": found.after.as_json(),
        "stays": [
            {
                "file": _shown(each.function.module.path, root),
                "line": each.line,
                "name": each.function.title,
                "reason": each.reason,
            }
            for each in found.stays
        ],
        "notes": [{"note": note, "place": place} for note, place in found.notes],
        "broken": {_shown(path, root): reason for path, reason in found.broken.items()},
    }


def _shown(path: Path, root: Path) -> str:
    """A path as somebody in the folder would type it."""
    return os.path.relpath(path, root) if path.is_relative_to(root) else str(path)
