"""`python -m benchmarks.repeated --python PYTHON`: greenroom's n_plus_one and pytest-queryguard on the same situations.

PYTHON is that of a virtual environment with greenroom, pytest-queryguard, FastAPI, httpx, asyncpg and psycopg. Both are run on
the project in suites/repeated, each alone. The table says of each situation what each has found, and at which line.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from benchmarks import server
from benchmarks.suites import FOLDER, ROOT
from greenroom.urls import conninfo

PAGE: Final = ROOT / "docs" / "repeated-queries.md"

_TOOLS: Final = {
    "greenroom": ("-p", "no:queryguard"),
    "pytest-queryguard": ("-o", "queryguard_mode=fail"),
}


def _lines(folder: Path) -> dict[str, int]:
    """The line that a finding should name, by situation."""
    lines = (folder / "situations.py").read_text().splitlines()
    return {line.rpartition("# <- ")[2]: number for number, line in enumerate(lines, 1) if "  # <- " in line}


def _run(python: str, tool: str, admin: str) -> Iterator[tuple[str, str]]:
    """Each test's name, and what it failed with; empty if it passed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        shutil.copytree(FOLDER / "repeated", folder, ignore=shutil.ignore_patterns("__pycache__"))
        if tool != "greenroom":
            settings = (folder / "pyproject.toml").read_text().replace('"fail"', '"off"')
            (folder / "pyproject.toml").write_text(settings)
        subprocess.run(
            [python, "-m", "pytest", "-q", "--junitxml=found.xml", *_TOOLS[tool]],
            cwd=folder,
            env={**os.environ, "GREENROOM_SERVER_URL": admin},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        for case in ET.parse(folder / "found.xml").iter("testcase"):  # noqa: S314 - pytest's own
            texts = [
                f"{each.get('message')}\n{each.text}" for each in case if each.tag in ("failure", "error")
            ]
            yield case.get("name", ""), "\n".join(texts)


def _verdict(test: str, text: str, expected: dict[str, int]) -> str:
    """What a tool made of a situation."""
    if text and not re.search(r"\(N\+1\)|a row each|queryguard: ", text):
        raise RuntimeError(f"{test} failed otherwise:\n{text}")
    if test.startswith("test_no"):
        return "**false**" if text else "nothing"
    if not text:
        return "not found"
    lines = re.findall(r"situations\.py:(\d+)", text)
    if not lines:
        return "found, no line"
    right = str(expected.get(_situation(test), "none"))
    return "found, its line" if right == lines[0] else f"found, line {lines[0]} in the place of {right}"


def _situation(test: str) -> str:
    name = (
        test.rpartition("[")[2].rstrip("]")
        if "[" in test
        else test.removeprefix("test_").removeprefix("found_")
    )
    return {"fixture": "loop_select", "run": "background"}.get(name, name)


def _name(test: str) -> str:
    """The row's name: the situation, or what the test itself does."""
    kind = "should not be found" if test.startswith("test_no") else "should be found"
    name = (
        test.rpartition("[")[2].rstrip("]")
        if "[" in test
        else test.removeprefix("test_found_").removeprefix("test_no_")
    )
    return f"`{name}` {kind}"


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="the interpreter that both are installed for")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args()
    expected = _lines(FOLDER / "repeated")
    with server.running() as embedded:
        found = {tool: dict(_run(options.python, tool, conninfo(embedded.admin))) for tool in _TOOLS}
    rows = [f"| situation | {' | '.join(_TOOLS)} |", f"| --- {'| --- ' * len(_TOOLS)}|"]
    for test in next(iter(found.values())):
        cells = [_verdict(test, found[tool].get(test, ""), expected) for tool in _TOOLS]
        rows.append(f"| {_name(test)} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    print(table)
    if options.write:
        text = PAGE.read_text()
        PAGE.write_text(re.sub(r"^\| situation (?:.*\n)+?(?=^$|\Z)", f"{table}\n", text, flags=re.MULTILINE))


if __name__ == "__main__":
    main()
