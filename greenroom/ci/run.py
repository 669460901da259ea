"""One run as CI wants it: pytest's own exit code, reports that are whole, and nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from greenroom.ci import junit, measured, summary
from greenroom.ci.child import Child
from greenroom.ci.errors import ReportsError
from greenroom.ci.facts import REPORTS, Facts
from greenroom.ci.junit import Results
from greenroom.ci.shards import DURATIONS, Shard
from greenroom.ci.staging import FOLDER, Staging
from greenroom.config import Config
from greenroom.database import kept
from greenroom.output import Console

_NO_TESTS: Final = 5
"""pytest's exit code where there was nothing to run."""

_INTERRUPTED: Final = 130


def run(
    config: Config,
    arguments: Sequence[str],
    console: Console,
    *,
    shard: Shard | None = None,
    store_durations: bool = False,
) -> int:
    """Run pytest, and publish its reports. Returns its exit code.

    Args:
        config: The project, whose folder becomes the current one.
        arguments: What pytest is told besides.
        console: Where it says what it has written.
        shard: The part of the suite to run; by default all of it.
        store_durations: Record how long each test took, if all of them passed.

    Raises:
        ReportsError: The reports cannot be written.
    """
    os.chdir(config.root)
    target = config.root / FOLDER / shard.folder if shard else config.root / FOLDER
    with Staging(config.root) as staging, Child() as child:
        folder = staging.folder
        code = child.run(
            [sys.executable, "-m", "pytest", *_options(folder, shard), *arguments],
            environ=os.environ | {"COVERAGE_FILE": str(folder / measured.DATA), REPORTS: str(folder)},
            files=[staging.lock],
        )
        if shard and code == _NO_TESTS:
            console.say(f"shard {shard} has no tests: there are more shards than tests")
            code = 0
        if child.told and code == 0:
            code = _INTERRUPTED
        facts, results = _read(folder, config.root)
        facts = dataclasses.replace(facts, exit_code=code)
        facts.save(folder)
        _copy_kept(config, results, folder)
        _summarise(folder, facts, results, shard)
        if store_durations and results is not None and code == 0:
            _store(config.root / DURATIONS, results)
            console.say(f"recorded how long {len(results.tests)} tests take: {DURATIONS}")
        names = staging.publish(target)
    console.say(f"reports are in {target.relative_to(config.root)}/: {', '.join(names)}")
    return code


def _options(folder: Path, shard: Shard | None) -> list[str]:
    """Before the user's own arguments, which have the last word."""
    options = [f"--junitxml={folder / junit.FILE}", *junit.OPTIONS, *(shard.options if shard else ())]
    if importlib.util.find_spec("pytest_cov") is not None:
        options += measured.options(folder, shard=shard is not None)
    return options


def _read(folder: Path, root: Path) -> tuple[Facts, Results | None]:
    """What pytest has left. It leaves nothing where it was told wrong, or was killed."""
    facts, results = Facts(), None
    with contextlib.suppress(ReportsError):
        facts = Facts.load(folder)
    with contextlib.suppress(ReportsError):
        results = junit.read(folder, root)
    return facts, results


def _copy_kept(config: Config, results: Results | None, folder: Path) -> None:
    """Copy the first databases that the plugin has kept of this run's failed tests; each worker has kept its own."""
    failed = {test.id for test in results.failed} if results else set()
    # Another run in this checkout may just be writing or removing one.
    with contextlib.suppress(OSError, StopIteration):
        files = [file for test, file in kept.kept(config).items() if test in failed]
        for file in files[: config.keep_failed]:
            (folder / "kept").mkdir(exist_ok=True)
            shutil.copy2(file, folder / "kept")


def _summarise(folder: Path, facts: Facts, results: Results | None, shard: Shard | None) -> None:
    beside = [name for name in ("postgres.log", "kept") if (folder / name).exists()]
    coverage = measured.read(folder, facts.fail_under)
    text = summary.of_run(results, facts, coverage, shard=shard, beside=beside)
    (folder / summary.FILE).write_text(text)


def _store(file: Path, results: Results) -> None:
    """Write what pytest-split reads: seconds by node id."""
    # One that takes less than JUnit's XML can say costs something, too.
    durations = {test.id: max(test.seconds, 0.001) for test in results.tests if test.outcome == "passed"}
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(durations, indent=2, sort_keys=True) + "\n")
    part.replace(file)
