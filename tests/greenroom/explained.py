"""The project `explained`: each known error is provoked in it, for real. `python -m tests.greenroom.explained` writes the page.

It runs the project with both drivers on the SQLAlchemy that is installed and, as scripts/explained-errors calls it, on one
of 2.0 as well, and writes docs/explained-errors.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.explain.page import anchor
from tests.greenroom import forked
from tests.greenroom.explained_cases import CASES, Case

PROJECT: Final = Path(__file__).parent / "projects" / "explained"
DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "explained-errors.md"
SECTIONS: Final = {
    anchor(title): title for title in re.findall(r"^## (.+)$", (DOCS / "faq.md").read_text(), re.MULTILINE)
}
"""The titles of docs/faq.md, by their anchors."""

EXPLAINED: Final = "yes"
OCCURS_NOT: Final = "does not occur"
IN_THE_TEST: Final = "in the test only"
_HEAD: Final = ("| error | explained | caught by the application |", "| --- | --- | --- |")
DRIVERS: Final = ("asyncpg", "psycopg")
TITLES: Final = ("greenroom: why this failed", "greenroom: what the application raised")


class Outcome(NamedTuple):
    """What became of a test of the project.

    Attributes:
        error: The whole of pytest's report of its failures; empty if it passed.
        explanation: The explanation in it; empty if there is none.
    """

    error: str
    explanation: str


class Column(NamedTuple):
    """The outcomes of all tests with one driver and one version of SQLAlchemy.

    Attributes:
        driver: One of `DRIVERS`.
        version: Such as `2.1`.
        cells: What became of each, in words, by the tests' names without `test_`.
    """

    driver: str
    version: str
    cells: dict[str, str]


def line_of(here: str, root: Path = PROJECT) -> str:
    """The `file:line` that is marked so."""
    for file in sorted(root.rglob("*.py")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if line.endswith(f"# here: {here}"):
                return f"{file.relative_to(root)}:{number}"
    raise LookupError(here)


def run(
    root: Path, driver: str, *arguments: str, path: Path | None = None, catches: bool = False
) -> subprocess.CompletedProcess[str]:
    """Copy the project to a folder, and run all of it there.

    Args:
        root: The folder, not there yet.
        driver: Which of `DRIVERS` the application uses.
        arguments: More of them for pytest.
        path: A folder of packages to find before those that are installed.
        catches: What the tests do is done in requests, and the application makes a 500 of each error.
    """
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns("__pycache__"))
    configuration = root / "pyproject.toml"
    configuration.write_text(configuration.read_text().replace("postgresql+asyncpg", f"postgresql+{driver}"))
    environment = (
        os.environ | ({"PYTHONPATH": str(path)} if path else {}) | ({"CATCHES": "1"} if catches else {})
    )
    done = subprocess.run(
        [*forked.command("pytest", environment), "--junitxml=junit.xml", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # 1: tests have failed, as they should. Anything else is not what is looked at here.
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def outcomes(root: Path) -> dict[str, Outcome]:
    """What the tests of a run came to, by their names without `test_`."""
    found: dict[str, Outcome] = {}
    for case in ET.parse(root / "junit.xml").iter("testcase"):
        name = case.attrib["name"].removeprefix("test_")
        reports = [child.text or "" for child in case if child.tag in {"failure", "error"}]
        parts = [re.split(rf"-+ (?:{'|'.join(TITLES)}) -+\n", report, maxsplit=1) for report in reports]
        # The rewind of a test with a broken connection fails it a second time.
        own = next((part for part in parts if len(part) == 2), ["\n".join(reports), ""])
        before = found.get(name, Outcome("", ""))
        found[name] = Outcome(before.error + own[0], before.explanation + own[1])
    return found


def main(older: Path) -> None:
    """Write the page, with SQLAlchemy as it is installed and as it is in another folder."""
    columns: dict[bool, list[Column]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        for path in (None, older):
            for driver in DRIVERS:
                for catches in (False, True):
                    root = Path(folder) / f"{driver}-{'older' if path else 'installed'}-{catches}"
                    done = run(root, driver, "-p", "no:randomly", path=path, catches=catches)
                    print(done.stdout.splitlines()[-1], file=sys.stderr)
                    columns[catches].append(
                        Column(driver, _version(path), cells(outcomes(root), catches=catches))
                    )
    PAGE.write_text(page(columns[False], columns[True]))
    print(f"{PAGE.name} written", file=sys.stderr)


def page(columns: list[Column], caught: list[Column]) -> str:
    """The page, from the outcomes with each driver and version: as they are, and where the application catches the errors."""
    versions = list(dict.fromkeys(column.version for column in columns))
    lines = [
        "# Explained errors",
        "",
        "Each of these errors is provoked, for real, by a test of the project tests/greenroom/projects/explained, with each driver",
        f"({' and '.join(DRIVERS)}) and each version of SQLAlchemy ({' and '.join(versions)}). Then all of it is run again with an application",
        "that catches them: what a test does is done in a request, and a middleware makes a 500 of each error, so that the test fails",
        "with `assert 500 == 200`. *Explained* says whether the report names the section's reason, and *caught by the application* whether",
        "it does so in that second run. *In the test only*: the error is a fixture's, a warning's or pytest's own, which no application catches.",
        "",
        "`scripts/explained-errors` writes this page, and tests/greenroom/test_explain.py checks it.",
    ]
    for section, title in SECTIONS.items():
        names = [case.name for case in CASES if case.section == section]
        lines += ["", f"## [{title}](faq.md#{section})", "", *_HEAD] if names else []
        lines += [_entry(name, columns, caught) for name in names]
    lines += ["", "## Errors that a client did not raise, and that are not known", "", *_HEAD]
    lines += [_entry(case.name, columns, caught) for case in CASES if not case.section]
    return "\n".join([*lines, ""])


def _entry(name: str, *tables: list[Column]) -> str:
    """A test, and what it comes to."""
    return f"| {' | '.join([name.replace('_', ' '), *(_said(name, columns) for columns in tables)])} |"


def _said(name: str, columns: list[Column]) -> str:
    """What is said of most drivers and versions, and then the exceptions."""
    usual, _ = Counter(column.cells[name] for column in columns).most_common()[0]
    usual = EXPLAINED if any(column.cells[name] == EXPLAINED for column in columns) else usual
    said = [usual]
    for driver in DRIVERS:
        found = {column.version: column.cells[name] for column in columns if column.driver == driver}
        if len(set(found.values())) == 1:
            said += [f"{each} with {driver}" for each in set(found.values()) if each != usual]
        else:
            said += [
                f"{each} with {driver} and SQLAlchemy {version}"
                for version, each in found.items()
                if each != usual
            ]
    return "; ".join(said)


def stated(driver: str, version: str, *, catches: bool = False) -> dict[str, str]:
    """What the page says of each test, for a driver and a version of SQLAlchemy."""
    cells = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and line not in _HEAD:
            name, *columns = line.strip("| ").split(" | ")
            usual, *exceptions = columns[catches].split("; ")
            exception = re.compile(rf"(.+) with {driver}(?: and SQLAlchemy {re.escape(version)})?")
            found = [match[1] for part in exceptions if (match := exception.fullmatch(part))]
            cells[name.replace(" ", "_")] = found[0] if found else usual
    return cells


def cells(found: dict[str, Outcome], *, catches: bool) -> dict[str, str]:
    """What became of each test, in words.

    Args:
        found: The outcomes of a run.
        catches: It was one in which the application catches the errors.
    """
    return {case.name: _cell(found[case.name], case, catches=catches) for case in CASES}


def _cell(outcome: Outcome, case: Case, *, catches: bool) -> str:
    if not outcome.error:
        return OCCURS_NOT
    if catches and "assert 500 == 200" not in outcome.error:
        return IN_THE_TEST
    if catches and case.section:
        explained = f"#{case.section}, or:" in outcome.explanation
    else:
        explained = bool(outcome.explanation)
    return EXPLAINED if explained else "NO"


def _version(path: Path | None) -> str:
    code = "import sqlalchemy; print(*sqlalchemy.__version__.split('.')[:2], sep='.')"
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
