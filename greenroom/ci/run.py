"""One run for CI: it ends with pytest's exit code, writes complete reports, and leaves nothing else."""

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

from greenroom.ci import coverage, junit, summary
from greenroom.ci.child import Child
from greenroom.ci.shards import DURATIONS, Shard, broken
from greenroom.ci.staging import Staging
from greenroom.config import Config
from greenroom.database import keep_failed
from greenroom.errors import ReportsError
from greenroom.output import Console
from greenroom.record import FOLDER, REPORTS, RunRecord
from greenroom.signals import INTERRUPTED

_NO_TESTS: Final = 5
"""pytest's exit code if there were no tests."""


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
    durations = DURATIONS
    if shard and (why := broken(config.root / DURATIONS)):
        console.say(f"{DURATIONS} is not used, so the shards may take unequally long: {why}")
        durations = f"{DURATIONS}.none"
    target = config.root / FOLDER / shard.folder if shard else config.root / FOLDER
    with Staging(config.root) as staging, Child() as child:
        folder = staging.folder
        code = child.run(
            [sys.executable, "-m", "pytest", *_options(folder, shard, durations), *arguments],
            environ=os.environ | {"COVERAGE_FILE": str(folder / coverage.DATA), REPORTS: str(folder)},
            files=[staging.lock],
        )
        if shard and code == _NO_TESTS:
            console.say(f"shard {shard} has no tests: there are more shards than tests")
            code = 0
        if child.told and code == 0:
            code = INTERRUPTED
        record = dataclasses.replace(_read(folder), exit_code=code)
        record.save(folder)
        _copy_kept(config, record, folder)
        _summarise(folder, record, shard)
        if store_durations and code == 0:
            _store(config.root / DURATIONS, record)
            console.say(f"recorded how long {len(record.tests)} tests take: {DURATIONS}")
        names = staging.publish(target)
    console.say(f"reports are in {target.relative_to(config.root)}/: {', '.join(names)}")
    return code


def _options(folder: Path, shard: Shard | None, durations: str) -> list[str]:
    """Return the options that go before the user's own arguments, which override them."""
    # Relative to the current folder, since pytest expands variables in a path.
    folder = folder.relative_to(Path.cwd())
    options = [
        f"--junitxml={folder / junit.FILE}",
        *junit.OPTIONS,
        *(shard.options(durations) if shard else ()),
    ]
    if importlib.util.find_spec("pytest_cov") is not None:
        options += coverage.options(folder, shard=shard is not None)
    return options


def _read(folder: Path) -> RunRecord:
    """What the plugin has left. It leaves nothing where pytest was told wrong, or was killed."""
    try:
        return RunRecord.load(folder)
    except ReportsError:
        return RunRecord()


def _copy_kept(config: Config, record: RunRecord, folder: Path) -> None:
    """Copy the first databases that the plugin has kept of this run's failed tests; each worker has kept its own."""
    failed = {test.id for test in record.failed}
    # Another run in this checkout may just be writing or removing one.
    with contextlib.suppress(OSError, StopIteration):
        files = [file for test, file in keep_failed.kept(config).items() if test in failed]
        for file in files[: config.keep_failed]:
            (folder / "kept").mkdir(exist_ok=True)
            shutil.copy2(file, folder / "kept")


def _summarise(folder: Path, record: RunRecord, shard: Shard | None) -> None:
    beside = [name for name in ("postgres.log", "kept") if (folder / name).exists()]
    total = coverage.read(folder, record.fail_under)
    text = summary.of_run(record, total, shard=shard, beside=beside)
    (folder / summary.FILE).write_text(text, encoding="utf-8")


def _store(file: Path, record: RunRecord) -> None:
    """Write what pytest-split reads: seconds by node id."""
    # One that takes no time that could be measured costs something, too.
    durations = {
        test.id: round(max(test.seconds, 0.001), 3) for test in record.tests if test.outcome == "passed"
    }
    file.parent.mkdir(exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(durations, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(file)
