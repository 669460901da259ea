"""The page's tables, made from the results."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from tests.lab.run import ROOT, programs

PAGE: Final = ROOT / "docs/troubleshooting/async-testing.md"

_GROUPS: Final = {"1": "a1", "2": "a2", "3": "a3", "4": "a4", "5": "a5", "clients": "b"}


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with all its tables made again.

    Raises:
        ValueError: A table has no place in the page.
    """
    pieces = {name: _approach(prefix, results) for name, prefix in _GROUPS.items()}
    pieces["greenroom"] = _greenroom(results)
    pieces["versions"] = "\n".join(f"* *{title}*: {said}" for title, said in results["versions"].items())
    for name, piece in pieces.items():
        page, found = re.subn(
            rf"(<!-- lab:{name} -->\n).*?(<!-- /lab -->)",
            lambda match, piece=piece: f"{match[1]}\n{piece}\n\n{match[2]}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"{PAGE} has {found} places for the table {name}, not one.")
    return page


def _approach(prefix: str, results: dict[str, Any]) -> str:
    parts = []
    for program in programs():
        if not program.name.startswith(prefix):
            continue
        source = f"../../tests/lab/programs/{program.name}.py"
        ini = "".join(f" With `{line}` in pytest.ini." for line in program.ini)
        outcomes = results["programs"][program.name]
        parts.append(
            f"**{program.title}** ([{program.name}.py]({source})).{ini}\n\n{_table(outcomes, results)}\n\n{program.cause}"
        )
    return "\n\n".join(parts)


def _table(outcomes: dict[str, list[Any]], results: dict[str, Any]) -> str:
    rows = [f"| {title} | {_said(outcomes[name])} |" for name, title in results["environments"].items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _greenroom(results: dict[str, Any]) -> str:
    (one,) = results["greenroom"]
    rows = [f"| `{outcome['test']}` | {_outcome(outcome)} |" for outcome in one["outcomes"]]
    return "\n".join(["| test | |", "| --- | --- |", *rows])


def _said(found: list[Any]) -> str:
    return "<br>or: ".join("<br>".join(lines(one)) for one in found)


def lines(one: dict[str, Any]) -> list[str]:
    """What came out of one run of a program: how many tests passed, and a line for each failure and warning."""
    if "crash" in one:
        return [f"the interpreter crashes ({one['crash']})"]
    if "stopped" in one:
        return [_cell(one["stopped"])]
    failures = [outcome for outcome in one["outcomes"] if outcome["error"]]
    good = len({outcome["test"] for outcome in one["outcomes"]} - {failure["test"] for failure in failures})
    said = [f"`{failure['test']}`{_phase(failure)}: {_outcome(failure)}" for failure in failures]
    said += [f"warning: `{_cell(warning)}`" for warning in one["warnings"]]
    return [*([f"{good} passed"] if good else []), *said]


def passed(one: dict[str, Any]) -> bool:
    """Whether all tests of a run passed."""
    return "outcomes" in one and not any(outcome["error"] for outcome in one["outcomes"])


def _phase(outcome: dict[str, Any]) -> str:
    return "" if outcome["phase"] == "call" else f", {outcome['phase']}"


def _outcome(outcome: dict[str, Any]) -> str:
    if not outcome["error"]:
        return "passed"
    place, _, line = outcome["line"].partition(" ")
    hidden = f"<br>after: `{_cell(outcome['hidden'])}`" if "hidden" in outcome else ""
    explained = f"<br>explained: {_cell(outcome['explained'])}" if "explained" in outcome else ""
    return (
        f"`{_cell(outcome['error'])}`"
        + (f" at {place} `{_cell(line)}`" if place else "")
        + hidden
        + explained
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def write(results: dict[str, Any], page: Path = PAGE) -> None:
    """Write the tables into the page."""
    page.write_text(filled(page.read_text(), results))
