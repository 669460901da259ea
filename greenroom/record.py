"""run.json: what is known of a run, as the plugin has seen it."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, Self

from greenroom.errors import ReportsError

FOLDER: Final = "reports"
"""Where reports go, in the project's root."""

FILE: Final = "run.json"

REPORTS: Final = "GREENROOM_REPORTS"
"""The environment variable by which pytest, and in it the plugin, learns the folder to write to."""

INSIDE: Final = "GREENROOM_INSIDE"
"""The environment variable that names the engine in whose stack this process runs: to it, the server is just one there."""

_OUTCOMES: Final = ("failed", "warned", "known")

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
    where: str
    outcome: Outcome
    seconds: float
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Found:
    """What the watch has found at a place of the project's code.

    Attributes:
        kind: The setting that it was found by, such as `n_plus_one`.
        file: The file, relative to the project's folder; empty if no line of the project's own has led to it.
        function: The function.
        line: The text of the line.
        attribute: The attribute of a model that was read there, such as `Customer.orders`; empty if it was none.
        via: The functions that led there, where the line alone does not say what was found.
        number: The line's number now.
        title: What was found, in half a line.
        test: The node ID of a test in which it was found.
        tests: In how many it was found.
        outcome: What became of the test: `failed`, `warned`, or nothing since it is `known`.
    """

    kind: str
    file: str
    function: str
    line: str
    attribute: str
    via: str = ""
    number: int = 0
    title: str = ""
    test: str = ""
    tests: int = 1
    outcome: str = "failed"

    @property
    def key(self) -> tuple[str, ...]:
        """What says that it is the same, also when lines above it are edited."""
        return self.kind, self.file, self.function, self.line, self.attribute, self.via

    @property
    def where(self) -> str:
        """`file:line`, or what there is in the place of it."""
        number = f":{self.number}" if self.number else ""
        return f"{self.file}{number}" if self.file else self.attribute


def together(findings: Iterable[Found]) -> tuple[Found, ...]:
    """Findings, each once, with the number of tests; those in most tests first."""
    found: dict[tuple[str, ...], Found] = {}
    for each in findings:
        before = found.get(each.key)
        if before is None:
            found[each.key] = each
        else:
            # One that fails a test is not known in another.
            worse = min(before, each, key=lambda one: _OUTCOMES.index(one.outcome))
            found[each.key] = dataclasses.replace(worse, tests=before.tests + each.tests)
    return tuple(sorted(found.values(), key=lambda one: (-one.tests, one.key)))


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        engine: Where Postgres came from, and why, if pytest has come to that.
        fail_under: The percentage that the coverage had to reach, if it was measured and there is one.
        exit_code: pytest's.
        seconds: How long the run took, if pytest has come to its end.
        tests: What became of each test.
        findings: What the watch has found, each once.
    """

    engine: str | None = None
    fail_under: float | None = None
    exit_code: int | None = None
    seconds: float | None = None
    tests: tuple[Test, ...] = ()
    findings: tuple[Found, ...] = ()

    @property
    def counts(self) -> collections.Counter[Outcome]:
        """How many tests had which outcome."""
        return collections.Counter(test.outcome for test in self.tests)

    @property
    def failed(self) -> list[Test]:
        """The tests that failed or errored."""
        return [test for test in self.tests if test.outcome in ("failed", "error")]

    def save(self, folder: Path) -> None:
        """Write them to `folder`."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read them from `folder`.

        Raises:
            ReportsError: The file is missing or broken.
        """
        try:
            values = json.loads((folder / FILE).read_text(encoding="utf-8"))
            tests = tuple(Test(**test) for test in values.pop("tests"))
            findings = tuple(Found(**found) for found in values.pop("findings", ()))
            return cls(**values, tests=tests, findings=findings)
        except FileNotFoundError:
            raise ReportsError(f"There is no {FILE} in {folder}.") from None
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise ReportsError(f"{folder / FILE} cannot be read: {error}.") from None
