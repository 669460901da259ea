"""Merge the reports of all shards of a suite into those of one run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from greenroom import hints
from greenroom.ci import coverage, junit, summary
from greenroom.ci.coverage import Total
from greenroom.ci.shards import Shard, found
from greenroom.ci.staging import Staging
from greenroom.errors import ReportsError
from greenroom.output import Console
from greenroom.record import FOLDER, RunRecord, together

Parts = Mapping[Shard, RunRecord]


def merge(root: Path, console: Console) -> int:
    """Merge and publish the reports, and say what is wrong. Returns 1 if anything is wrong, else 0.

    Args:
        root: The project's folder, which becomes the current one: coverage's settings are sought there.
        console: Where it says so.

    Raises:
        ReportsError: The shards are not whole.
    """
    os.chdir(root)
    folders = found(root / FOLDER)
    parts = {shard: _part(shard, folder) for shard, folder in folders.items()}
    with Staging(root) as staging:
        junit.merge(folders.values(), staging.folder)
        data = _data(folders, parts)
        total = coverage.merge(data, staging.folder) if data else None
        wrong = _wrong(parts, total)
        whole = RunRecord(
            tests=tuple(test for part in parts.values() for test in part.tests),
            findings=together(found for part in parts.values() for found in part.findings),
        )
        text = summary.of_shards(parts, whole, total, wrong)
        (staging.folder / summary.FILE).write_text(text, encoding="utf-8")
        names = staging.publish(root / FOLDER)
    if failed := whole.failed:
        console.error(f"{len(failed)} of {len(whole.tests)} tests failed or errored: {FOLDER}/{summary.FILE}")
    for message in wrong:
        console.error(message)
    console.say(f"merged {len(parts)} shards into {FOLDER}/: {', '.join(names)}")
    return int(bool(failed or wrong))


def _part(shard: Shard, folder: Path) -> RunRecord:
    try:
        if not (folder / junit.FILE).exists():
            raise ReportsError(f"There is no {junit.FILE} in {folder}.")
        return RunRecord.load(folder)
    except ReportsError as error:
        raise ReportsError(
            f"Shard {shard} has no complete reports: {error.message}",
            hint=f"{hints.typed(f'greenroom ci --shard {shard}')}, or download that job's artifact",
        ) from None


def _data(folders: Mapping[Shard, Path], parts: Parts) -> dict[str, Path]:
    """The coverage data of each shard that had a test to run. None of them may be without, if one has any."""
    files = {shard: folder / coverage.DATA for shard, folder in folders.items() if parts[shard].tests}
    there = {shard: file for shard, file in files.items() if file.exists()}
    if there and len(there) < len(files):
        missing = ", ".join(str(shard) for shard in files if shard not in there)
        raise ReportsError(
            f"Only {len(there)} of {len(files)} shards measured coverage. {coverage.DATA} is missing in: {missing}.",
            hint="run all shards with the same arguments",
        )
    return {f"shard {shard}": file for shard, file in there.items()}


def _wrong(parts: Parts, total: Total | None) -> list[str]:
    """Return what is wrong apart from failed tests."""
    wrong = [
        f"shard {shard} ended with exit code {record.exit_code}"
        for shard, record in parts.items()
        if record.exit_code not in (0, 1) or (record.exit_code and not record.failed)
    ]
    if not any(record.tests for record in parts.values()):
        wrong.append("no shard had a test")
    if total is not None and not total.enough:
        wrong.append(f"the coverage is too low: {total}")
    return wrong
