"""The page's tables, made from the results."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, Final

from tests.lab.run import NEEDS, approaches, programs
from tests.lab.ways import ROOT

PAGE: Final = ROOT / "docs/troubleshooting/async-testing.md"

_ROWS: Final = ("story", "today", "psycopg", "unedited")
"""The environments in the table of each program; all are in the one table."""

_GROUPS: Final = {"1": "a1", "2": "a2", "3": "a3", "4": "a4", "5": "a5", "clients": "b"}


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with all its tables made again.

    Raises:
        ValueError: A table has no place in the page.
    """
    pieces = {name: _approach(prefix, results) for name, prefix in _GROUPS.items()}
    pieces["greenroom"] = _greenroom(results)
    pieces["matrix"] = matrix(results)
    pieces["needs"] = _needs(results)
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
    titles = results["environments"]
    rows = [f"| {titles[name]} | {_said(outcomes[name])} |" for name in _ROWS]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _greenroom(results: dict[str, Any]) -> str:
    (one,) = results["greenroom"]
    rows = [f"| `{outcome['test']}` | {_outcome(outcome)} |" for outcome in one["outcomes"]]
    return "\n".join(["| test | |", "| --- | --- |", *rows])


def matrix(results: dict[str, Any]) -> str:
    """How many tests of each program pass in each environment, and what that is in comparison with today."""
    titles = {name: title for name, title in results["environments"].items() if name != "psycopg"}
    found = {program.name: _passing(results["programs"][program.name]) for program in programs()}
    rows = [["", *titles.values()], ["---"] * (len(titles) + 1)]
    for name, passing in found.items():
        source = f"[{name}](../../tests/lab/programs/{name}.py)"
        cells = [
            f"{sum(passing[where].values())} of {len(passing[where])}" if where in passing else "–"
            for where in titles
        ]
        rows.append([source, *cells])
    for what, before, after in (
        ("*fail today, pass here*", False, True),
        ("*pass today, fail here*", True, False),
    ):
        counts = [_changed(found, where, before=before, after=after) for where in titles]
        rows.append([what, *(str(len(changed)) if changed else "none" for changed in counts)])
    alone = [_alone(results, where, _changed(found, where, before=True, after=False)) for where in titles]
    rows.append(["*of which fail today, too, if they are alone*", *(str(count or "–") for count in alone)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _passing(outcomes: dict[str, list[Any]]) -> dict[str, dict[str, bool]]:
    """Of each environment, which tests of a program pass each time."""
    tests = {
        outcome["test"]: None
        for found in outcomes.values()
        for one in found
        for outcome in one.get("outcomes", ())
    }
    return {
        where: {test: all(test in _passed_of(one) for one in found) for test in tests}
        for where, found in outcomes.items()
    }


def _passed_of(one: dict[str, Any]) -> set[str]:
    outcomes = one.get("outcomes", ())
    return {outcome["test"] for outcome in outcomes} - {
        outcome["test"] for outcome in outcomes if outcome["error"]
    }


def _changed(
    found: dict[str, dict[str, dict[str, bool]]], where: str, *, before: bool, after: bool
) -> set[tuple[str, str]]:
    """The tests that pass or fail today, and otherwise there."""
    return {
        (name, test)
        for name, passing in found.items()
        for test, passes in passing.get(where, {}).items()
        if passes == after and passing["today"][test] == before
    }


def _alone(results: dict[str, Any], where: str, tests: set[tuple[str, str]]) -> int:
    return sum(
        any(
            outcome["test"] == test and outcome.get("alone")
            for one in results["programs"][name][where]
            for outcome in one.get("outcomes", ())
        )
        for name, test in tests
    )


def _needs(results: dict[str, Any]) -> str:
    """Which of the tests that are the same for each approach pass, and what the others say."""
    conftests = approaches()
    passing = {conftest.name: _passing({"": results["needs"][conftest.name]})[""] for conftest in conftests}
    rows = [["", *(conftest.title for conftest in conftests)], ["---"] * (len(conftests) + 1)]
    rows += [
        [
            title,
            *("passes" if passing[conftest.name].get(test) else "**fails**" for conftest in conftests),
        ]
        for test, title in _titles(NEEDS.read_text()).items()
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    said = [
        f"**{conftest.title}** ([{conftest.path.name}](../../tests/lab/peers/{conftest.path.name})). {conftest.cause}\n\n"
        + "\n".join(f"* {line}" for one in results["needs"][conftest.name] for line in lines(one))
        for conftest in conftests
    ]
    return "\n\n".join([table, *said])


def _titles(text: str) -> dict[str, str]:
    """The first line of each test's docstring."""
    return {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


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
    alone = "<br>today, too, if it is alone" if outcome.get("alone") else ""
    return (
        f"`{_cell(outcome['error'])}`"
        + (f" at {place} `{_cell(line)}`" if place else "")
        + hidden
        + explained
        + alone
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def write(results: dict[str, Any], page: Path = PAGE) -> None:
    """Write the tables into the page."""
    page.write_text(filled(page.read_text(), results))
