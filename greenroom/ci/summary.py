"""summary.md: the results of a run, in the Markdown that GitHub shows on a job's page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from greenroom.ci.coverage import Total
from greenroom.ci.shards import Shard
from greenroom.record import RunRecord

FILE: Final = "summary.md"

_FAILED: Final = 50
"""How many failed tests are listed. GitHub accepts 1 MiB in all, and nobody reads more."""

_SLOWEST: Final = 10

_QUICK: Final = 0.01
"""Seconds below which a test is not listed among the slowest."""

_LONGEST: Final = 200
"""Characters of a test's name or message."""

_MEANINGS: Final = {2: "interrupted", 3: "internal error", 4: "wrong usage", 5: "nothing to run"}
"""The meanings of pytest's exit codes, beyond 0 and 1."""


def of_run(record: RunRecord, total: Total | None, *, shard: Shard | None, beside: Sequence[str]) -> str:
    """The summary of one run.

    Args:
        record: What is known of it.
        total: Its coverage, if that was measured.
        shard: The part of the suite that it was, if it was one.
        beside: What helps to find out why tests failed, in the same folder.
    """
    code = record.exit_code
    wrong = []
    if code not in (0, 1):
        wrong.append(f"{_MEANINGS.get(code or 0, 'pytest did not end by itself')} (exit code {code})")
    elif total is not None and shard is None and not total.enough:
        wrong.append("coverage too low")
    elif code and not record.failed:
        wrong.append(f"exit code {code}")
    said = [f"Shard {shard}"] if shard else []
    said += [f"Coverage {total}"] if total else []
    said += [f"Postgres: {record.engine}"] if record.engine else []
    counted = "no results" if record.seconds is None else f"{_counted(record)} in {_took(record.seconds)}"
    lines = [_heading(counted, wrong, good=code == 0), "", " · ".join(said), ""]
    lines += _failed(record)
    lines += _found(record)
    if beside:
        lines += [f"Beside this file: {', '.join(map(code_span, beside))}.", ""]
    lines += _slowest(record)
    return "\n".join(lines).rstrip() + "\n"


def of_shards(
    shards: Mapping[Shard, RunRecord], whole: RunRecord, total: Total | None, wrong: Sequence[str]
) -> str:
    """The summary of all shards of a suite.

    Args:
        shards: What became of each.
        whole: The tests of all.
        total: The coverage of all, if that was measured.
        wrong: What is wrong besides failed tests, in a few words each.
    """
    counted = f"{_counted(whole)} in {len(shards)} shards"
    lines = [_heading(counted, wrong, good=not wrong and not whole.failed), ""]
    lines += [f"Coverage {total}", ""] if total else []
    lines += _failed(whole)
    lines += _found(whole)
    lines += ["| shard | tests | took | Postgres |", "| --- | --- | --- | --- |"]
    for shard, record in shards.items():
        lines.append(_row(f"{shard}", _counted(record), _took(record.seconds or 0), record.engine or ""))
    return "\n".join([*lines, "", *_slowest(whole)]).rstrip() + "\n"


def code_span(text: str) -> str:
    """Return a text as inline code on one line, escaped for Markdown and its tables."""
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    # Markdown takes one space off at each end, which a backtick there needs.
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text}{padding}{fence}".replace("|", "\\|")


def _heading(counted: str, wrong: Sequence[str], *, good: bool) -> str:
    return " ".join(["###", "✅" if good else "❌", "; ".join([counted, *wrong])])


def _counted(record: RunRecord) -> str:
    counts = record.counts
    errors = "error" if counts["error"] == 1 else "errors"
    named = (
        (counts["failed"], "failed"),
        (counts["error"], errors),
        (counts["passed"], "passed"),
        (counts["skipped"], "skipped"),
    )
    return ", ".join(f"{count} {name}" for count, name in named if count) or "no tests"


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _failed(record: RunRecord) -> Iterator[str]:
    failed = record.failed
    if not failed:
        return
    yield from ("| failed test | where | message |", "| --- | --- | --- |")
    for test in failed[:_FAILED]:
        yield _row(code_span(test.id), code_span(test.where), code_span(test.message))
    yield ""
    if len(failed) > _FAILED:
        yield from (f"{len(failed) - _FAILED} more are in junit.xml.", "")


def _found(record: RunRecord) -> Iterator[str]:
    new = [found for found in record.findings if found.outcome != "known"]
    if new:
        yield from ("| found by the watch | where | tests |", "| --- | --- | ---: |")
        for found in new[:_FAILED]:
            line = f" {code_span(found.line)}" if found.line else ""
            yield _row(code_span(found.title), f"{code_span(found.where)}{line}", str(found.tests))
        yield ""
    if len(new) > _FAILED:
        yield from (f"{len(new) - _FAILED} more are in run.json.", "")
    if known := len(record.findings) - len(new):
        yield from (f"{known} known finding{'' if known == 1 else 's'} beside that.", "")


def _slowest(record: RunRecord) -> Iterator[str]:
    measurable = [test for test in record.tests if test.seconds >= _QUICK]
    slowest = sorted(measurable, key=lambda test: -test.seconds)[:_SLOWEST]
    if not slowest:
        return
    yield from ("<details><summary>The slowest tests</summary>", "")
    yield from ("| seconds | test |", "| ---: | --- |")
    for test in slowest:
        yield _row(f"{test.seconds:.2f}", code_span(test.id))
    yield from ("", "</details>")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
