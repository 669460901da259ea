"""summary.md: what became of a run, in the Markdown that GitHub shows on a job's page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from greenroom.ci.facts import Facts
from greenroom.ci.junit import Results
from greenroom.ci.measured import Measured
from greenroom.ci.shards import Shard

FILE: Final = "summary.md"

_FAILED: Final = 50
"""How many failed tests are listed. GitHub takes 1 MiB in all, and nobody reads more."""

_SLOWEST: Final = 10

_QUICK: Final = 0.01
"""Seconds below which nobody asks where they went."""

_LONGEST: Final = 200
"""Characters of a test's name or message."""

_MEANINGS: Final = {2: "interrupted", 3: "internal error", 4: "wrong usage", 5: "nothing to run"}
"""What pytest's exit codes say, beyond 0 and 1."""


def of_run(
    results: Results | None,
    facts: Facts,
    measured: Measured | None,
    *,
    shard: Shard | None,
    beside: Sequence[str],
) -> str:
    """The summary of one run.

    Args:
        results: Its tests, if it came to any.
        facts: What else is known of it.
        measured: Its coverage, if that was measured.
        shard: The part of the suite that it was, if it was one.
        beside: What helps to find out why tests failed, in the same folder.
    """
    code = facts.exit_code
    wrong = []
    if code not in (0, 1):
        wrong.append(f"{_MEANINGS.get(code or 0, 'pytest did not end by itself')} (exit code {code})")
    elif measured is not None and shard is None and not measured.enough:
        wrong.append("coverage too low")
    elif code and results is not None and not results.failed:
        wrong.append(f"exit code {code}")
    said = [f"Shard {shard}"] if shard else []
    said += [f"Coverage {measured}"] if measured else []
    said += [f"Postgres: {facts.engine}"] if facts.engine else []
    counted = f"{_counted(results)} in {_took(results.seconds)}" if results else "no results"
    lines = [_heading(counted, wrong, good=code == 0), "", " · ".join(said), ""]
    if results is not None:
        lines += _failed(results)
        if beside:
            lines += [f"Beside this file: {', '.join(map(code_span, beside))}.", ""]
        lines += _slowest(results)
    return "\n".join(lines).rstrip() + "\n"


def of_shards(
    shards: Mapping[Shard, tuple[Results, Facts]],
    results: Results,
    measured: Measured | None,
    wrong: Sequence[str],
) -> str:
    """The summary of all shards of a suite.

    Args:
        shards: What became of each.
        results: The tests of all.
        measured: The coverage of all, if that was measured.
        wrong: What is wrong besides failed tests, in a few words each.
    """
    counted = f"{_counted(results)} in {len(shards)} shards"
    lines = [_heading(counted, wrong, good=not wrong and not results.failed), ""]
    lines += [f"Coverage {measured}", ""] if measured else []
    lines += _failed(results)
    lines += ["| shard | tests | took | Postgres |", "| --- | --- | --- | --- |"]
    for shard, (part, facts) in shards.items():
        lines.append(_row(f"{shard}", _counted(part), _took(part.seconds), facts.engine or ""))
    return "\n".join([*lines, "", *_slowest(results)]).rstrip() + "\n"


def code_span(text: str) -> str:
    """A text as code, in one line, that means nothing to Markdown, also in a table."""
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


def _counted(results: Results) -> str:
    counts = results.counts
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


def _failed(results: Results) -> Iterator[str]:
    failed = results.failed
    if not failed:
        return
    yield from ("| failed test | where | message |", "| --- | --- | --- |")
    for test in failed[:_FAILED]:
        yield _row(code_span(test.id), code_span(test.where or ""), code_span(test.message))
    yield ""
    if len(failed) > _FAILED:
        yield from (f"{len(failed) - _FAILED} more are in junit.xml.", "")


def _slowest(results: Results) -> Iterator[str]:
    measurable = [test for test in results.tests if test.seconds >= _QUICK]
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
