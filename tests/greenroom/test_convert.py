"""`greenroom convert`, construct by construct: what becomes of each, that it stays so, and that the tests still pass.

The cases are in the folder converted: a suite, an arrow, and what it becomes. A suite has more files behind `--- FILE`, and
what greenroom says about it is behind `--- says`. Each has the fixtures of converted/conftest.txt.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

import greenroom.convert.converting  # noqa: F401 - imported once: pytester forgets what is imported within a test
from tests.greenroom.conftest import Project

FOLDER: Final = Path(__file__).parent / "converted"

FIXTURES: Final = (FOLDER / "conftest.txt").read_text()

PLUGIN: Final = """
    import pytest

    def fixture(*arguments, loop_scope="function", **options):
        return pytest.fixture(*arguments, **options)
"""
"""What the suites import of pytest-asyncio, which is not installed."""

NOT_RUN: Final = " [not run]"
"""Behind the title of a case that needs what is not installed, or that failed before, too."""


@dataclass
class Case:
    """A suite, and what it becomes.

    Attributes:
        title: What it is about.
        runs: Its tests pass before and after.
        before: Its files.
        after: The same, converted.
        says: What greenroom says about it.
    """

    title: str
    runs: bool
    before: dict[str, str]
    after: dict[str, str]
    says: list[str] = field(default_factory=list)


def files(text: str) -> dict[str, str]:
    """The files of a suite."""
    first, *more = re.split(r"(?m)^--- (.*)\n", text)
    return {"test_it.py": first} | dict(zip(more[::2], more[1::2], strict=True))


def cases() -> list[Case]:
    """All cases, of all files."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for text in re.split(r"(?m)^=== ", path.read_text())[1:]:
            title, _, suite = text.partition("\n")
            before, _, after = suite.partition("--->\n")
            becomes = files(after)
            says = becomes.pop("says", "").splitlines()
            name = f"{path.stem}: {title.removesuffix(NOT_RUN)}"
            case = Case(name, not title.endswith(NOT_RUN), files(before), becomes, says)
            for file, contents in case.before.items():
                if case.after[file] == "unchanged\n":
                    case.after[file] = contents
            found.append(case)
    return found


CASES: Final = cases()


def write(project: Project, case: Case, folder: str) -> None:
    """Write a case's suite."""
    for name, text in {"__init__.py": "", "conftest.py": FIXTURES, **case.before}.items():
        path = project.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_case(project: Project, case: Case) -> None:
    """A suite becomes what it should, with the reason for each test that stays, and a second call changes nothing."""
    write(project, case, "tests")
    result = project.command("convert", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads(result.stdout)
    texts = {name: (project.root / "tests" / name).read_text() for name in case.before}
    for name, text in texts.items():
        assert text == case.after[name], text
    stays = [
        f"{each['file'].removeprefix('tests/')}:{each['line']}: {each['name']}: {each['reason']}"
        for each in found["stays"]
    ]
    notes = [f"{each['note']} ({each['place']})" for each in found["notes"]]
    assert stays + notes == case.says
    assert found["before"] == found["after"]

    again = json.loads(project.command("convert", "--json").stdout)
    assert again["files"] == []
    assert {name: (project.root / "tests" / name).read_text() for name in case.before} == texts


def test_runs(project: Project) -> None:
    """The tests of all cases pass as they are, on greenroom's loop, and once they are converted."""
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    project.write("tests/__init__.py", "")
    project.write("pytest_asyncio.py", PLUGIN)
    for number, case in enumerate(CASES):
        if case.runs:
            write(project, case, f"tests/case_{number}")
    before = project.pytest("-q", "tests")
    assert before.ret == 0, before.stdout.str()

    result = project.command("convert")
    assert result.returncode == 0, result.stderr
    after = project.pytest("-q", "tests")
    assert after.ret == 0, after.stdout.str()
    assert after.parseoutcomes()["passed"] == before.parseoutcomes()["passed"]
