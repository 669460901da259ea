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
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.explain.page import anchor
from tests.greenroom import forked
from tests.greenroom.explained_cases import CASES

PROJECT: Final = Path(__file__).parent / "projects" / "explained"
DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "explained-errors.md"
SECTIONS: Final = {
    anchor(title): title for title in re.findall(r"^## (.+)$", (DOCS / "faq.md").read_text(), re.MULTILINE)
}
"""The titles of docs/faq.md, by their anchors."""

EXPLAINED: Final = "explained"
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
        outcomes: By the tests' names without `test_`.
    """

    driver: str
    version: str
    outcomes: dict[str, Outcome]


def line_of(here: str, root: Path = PROJECT) -> str:
    """The `file:line` that is marked so."""
    for file in sorted(root.rglob("*.py")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if line.endswith(f"# here: {here}"):
                return f"{file.relative_to(root)}:{number}"
    raise LookupError(here)


def run(
    root: Path, driver: str, *arguments: str, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Copy the project to a folder, and run all of it there.

    Args:
        root: The folder, not there yet.
        driver: Which of `DRIVERS` the application uses.
        arguments: More of them for pytest.
        path: A folder of packages to find before those that are installed.
    """
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns("__pycache__"))
    configuration = root / "pyproject.toml"
    configuration.write_text(configuration.read_text().replace("postgresql+asyncpg", f"postgresql+{driver}"))
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
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
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        for path in (None, older):
            for driver in DRIVERS:
                root = Path(folder) / f"{driver}-{'older' if path else 'installed'}"
                done = run(root, driver, "-p", "no:randomly", path=path)
                print(done.stdout.splitlines()[-1], file=sys.stderr)
                columns.append(Column(driver, _version(path), outcomes(root)))
    PAGE.write_text(page(columns))
    print(f"{PAGE.name} written", file=sys.stderr)


def page(columns: list[Column]) -> str:
    """The page, from the outcomes with each driver and version."""
    versions = list(dict.fromkeys(column.version for column in columns))
    lines = [
        "# Explained errors",
        "",
        "Each of these errors is provoked, for real, by a test of the project tests/greenroom/projects/explained, with each driver",
        "and each version of SQLAlchemy. `scripts/explained-errors` writes this page, and tests/greenroom/test_explain.py checks it.",
        "",
        f"Each is explained with {' and '.join(DRIVERS)}, on SQLAlchemy {' and '.join(versions)}. Exceptions stand beside the error.",
    ]
    for section, title in SECTIONS.items():
        names = [case.name for case in CASES if case.section == section]
        lines += ["", f"## [{title}](faq.md#{section})", ""] if names else []
        lines += [_entry(name, columns) for name in names]
    lines += ["", "## Errors that a client did not raise, and that are not known", ""]
    lines += [_entry(case.name, columns) for case in CASES if not case.section]
    return "\n".join([*lines, ""])


def _entry(name: str, columns: list[Column]) -> str:
    """A test, and with what it comes to something else than an explanation."""
    found = []
    for driver in DRIVERS:
        cells = {column.version: cell(column.outcomes[name]) for column in columns if column.driver == driver}
        if len(set(cells.values())) == 1:
            found += [f"{said} with {driver}" for said in set(cells.values()) if said != EXPLAINED]
        else:
            found += [
                f"{said} with {driver} and SQLAlchemy {version}"
                for version, said in cells.items()
                if said != EXPLAINED
            ]
    return f"* {name.replace('_', ' ')}{': ' if found else ''}{'; '.join(found)}"


def stated(driver: str, version: str) -> dict[str, str]:
    """What the page says of each test, for a driver and a version of SQLAlchemy."""
    cells = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("* "):
            name, _, beside = line.removeprefix("* ").partition(": ")
            exception = re.compile(rf"(.+) with {driver}(?: and SQLAlchemy {re.escape(version)})?")
            found = [match[1] for part in beside.split("; ") if (match := exception.fullmatch(part))]
            cells[name.replace(" ", "_")] = found[0] if found else EXPLAINED
    return cells


def cell(outcome: Outcome) -> str:
    """What became of a test, in words."""
    return EXPLAINED if outcome.explanation else "NOT EXPLAINED" if outcome.error else "does not occur"


def _version(path: Path | None) -> str:
    code = "import sqlalchemy; print(*sqlalchemy.__version__.split('.')[:2], sep='.')"
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
