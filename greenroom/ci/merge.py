"""The reports of all shards of a suite, made into those of one run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from greenroom.ci import junit, measured, summary
from greenroom.ci.errors import ReportsError
from greenroom.ci.facts import Facts
from greenroom.ci.junit import Results
from greenroom.ci.measured import Measured
from greenroom.ci.shards import Shard, found
from greenroom.ci.staging import FOLDER, Staging
from greenroom.output import Console

Parts = Mapping[Shard, tuple[Results, Facts]]


def merge(root: Path, console: Console) -> int:
    """Merge, publish, and say what is wrong. Returns 1 if anything is, else 0.

    Args:
        root: The project's folder, which becomes the current one: coverage's settings are sought there.
        console: Where it says so.

    Raises:
        ReportsError: The shards are not whole.
    """
    os.chdir(root)
    folders = found(root / FOLDER)
    parts = {shard: _part(shard, folder, root) for shard, folder in folders.items()}
    with Staging(root) as staging:
        junit.merge(folders.values(), staging.folder)
        data = _data(folders, parts)
        coverage = measured.merge(data, staging.folder) if data else None
        results = junit.read(staging.folder, root)
        wrong = _wrong(parts, coverage)
        text = summary.of_shards(parts, results, coverage, wrong)
        (staging.folder / summary.FILE).write_text(text)
        names = staging.publish(root / FOLDER)
    if failed := results.failed:
        console.error(
            f"{len(failed)} of {len(results.tests)} tests failed or errored: {FOLDER}/{summary.FILE}"
        )
    for message in wrong:
        console.error(message)
    console.say(f"merged {len(parts)} shards into {FOLDER}/: {', '.join(names)}")
    return int(bool(failed or wrong))


def _part(shard: Shard, folder: Path, root: Path) -> tuple[Results, Facts]:
    try:
        return junit.read(folder, root), Facts.load(folder)
    except ReportsError as error:
        raise ReportsError(
            f"Shard {shard} has not left its reports: {error.message}",
            hint=f"make ci-test SHARD={shard}, or fetch what that job has left",
        ) from None


def _data(folders: Mapping[Shard, Path], parts: Parts) -> dict[str, Path]:
    """The coverage data of each shard that had a test to run. None of them may be without, if one has any."""
    files = {shard: folder / measured.DATA for shard, folder in folders.items() if parts[shard][0].tests}
    there = {shard: file for shard, file in files.items() if file.exists()}
    if there and len(there) < len(files):
        missing = ", ".join(str(shard) for shard in files if shard not in there)
        raise ReportsError(
            f"{len(there)} of {len(files)} shards have measured coverage. {measured.DATA} is missing in: {missing}.",
            hint="run all shards with the same arguments",
        )
    return {f"shard {shard}": file for shard, file in there.items()}


def _wrong(parts: Parts, coverage: Measured | None) -> list[str]:
    """What is wrong besides failed tests."""
    wrong = [
        f"shard {shard} ended with exit code {facts.exit_code}"
        for shard, (results, facts) in parts.items()
        if facts.exit_code not in (0, 1) or (facts.exit_code and not results.failed)
    ]
    if not any(results.tests for results, _ in parts.values()):
        wrong.append("no shard had a test")
    if coverage is not None and not coverage.enough:
        wrong.append(f"the coverage is too low: {coverage}")
    return wrong
