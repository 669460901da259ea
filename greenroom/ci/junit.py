"""JUnit's XML, as pytest writes it: read for the summary, and merged from shards."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, cast

import junitparser

from greenroom.ci.errors import ReportsError

FILE: Final = "junit.xml"

OPTIONS: Final = ("-o", "junit_family=xunit1")
"""The family that names each test's file and line, by which CI services and the summary find it."""

Outcome = Literal["passed", "failed", "error", "skipped"]


@dataclasses.dataclass(frozen=True)
class Test:
    """What became of one test.

    Attributes:
        id: Its node id.
        where: Its file, with the line where it failed or else begins.
        outcome: How it ended. One that fails and then errors in a fixture's teardown is there twice.
        seconds: How long it took, with its fixtures.
        message: The first line of what it failed with.
    """

    id: str
    where: str | None
    outcome: Outcome
    seconds: float
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Results:
    """The tests of a run.

    Attributes:
        tests: Each of them.
        seconds: How long the run took.
    """

    tests: list[Test]
    seconds: float

    @property
    def counts(self) -> collections.Counter[Outcome]:
        """How many tests had which outcome."""
        return collections.Counter(test.outcome for test in self.tests)

    @property
    def failed(self) -> list[Test]:
        """The tests that failed or errored."""
        return [test for test in self.tests if test.outcome in ("failed", "error")]


class _Case(junitparser.TestCase):
    file = junitparser.Attr()
    line = junitparser.Attr()


class _Suite(junitparser.TestSuite):
    testcase = _Case


class _Xml(junitparser.JUnitXml):
    testsuite = _Suite


def read(folder: Path, root: Path) -> Results:
    """The results in a folder's junit.xml.

    Args:
        folder: The folder.
        root: The project's folder, where the tests are.

    Raises:
        ReportsError: The file is missing or broken.
    """
    suites = list(_parsed(folder / FILE))
    # Of a test that was interrupted there is only the time.
    tests = [_test(cast("_Case", case), root) for suite in suites for case in suite if case.name]
    return Results(tests, sum(suite.time for suite in suites))


def merge(folders: Iterable[Path], target: Path) -> None:
    """Write one junit.xml to the folder `target`, from those of `folders`.

    Raises:
        ReportsError: One is missing or broken.
    """
    merged = junitparser.JUnitXml()
    for folder in folders:
        merged += _parsed(folder / FILE)
    merged.write(str(target / FILE))


def _parsed(file: Path) -> junitparser.JUnitXml:
    if not file.exists():
        raise ReportsError(f"There is no {FILE} in {file.parent}.")
    try:
        return _Xml.fromfile(str(file))
    # Both libraries that junitparser may read XML with have errors of their own, which are this one.
    except (OSError, SyntaxError, junitparser.JUnitXmlError) as error:
        raise ReportsError(f"{file} cannot be read: {str(error).rstrip('.')}.") from None


def _test(case: _Case, root: Path) -> Test:
    outcome: Outcome = "passed"
    message, text = "", ""
    for result in case.result:
        outcome = _OUTCOMES[type(result)]
        message, text = result.message or "", result.text or ""
    if outcome == "error" and not case.classname:
        # A file that could not be collected: only the text tells why.
        message = "\n".join(re.findall("^E  +(.+)", text, re.MULTILINE)) or message
    lines = message.strip().splitlines() or text.strip().splitlines()
    return Test(_id(case, root), _where(case, text), outcome, case.time or 0.0, lines[0] if lines else "")


_OUTCOMES: Final[dict[type, Outcome]] = {
    junitparser.Failure: "failed",
    junitparser.Error: "error",
    junitparser.Skipped: "skipped",
}


def _id(case: _Case, root: Path) -> str:
    """The test's node id, of which pytest has made a class in a module of packages."""
    name, classname = case.name or "", case.classname or ""
    if not classname:
        return str(case.file or name)
    parts = classname.split(".")
    # A test that a class inherits has the file of its base class, so that the test's own has to be looked for.
    files = [f"{'/'.join(parts[:count])}.py" for count in range(len(parts), 0, -1)]
    for file in (case.file, *files):
        module = str(file).removesuffix(".py").replace("/", ".")
        if file and f"{classname}.".startswith(f"{module}.") and (root / file).is_file():
            classes = classname.removeprefix(module).split(".")[1:]
            return "::".join([file, *classes, name])
    return f"{classname}::{name}"


def _where(case: _Case, text: str) -> str | None:
    """The last line of the traceback that is in the test's file, or where the test begins."""
    if case.file is None:
        return None
    lines = re.findall(rf"^{re.escape(case.file)}:([0-9]+): ", text, re.MULTILINE)
    line = lines[-1] if lines else str(int(case.line) + 1) if case.line else None
    return f"{case.file}:{line}" if line else str(case.file)
