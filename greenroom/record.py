"""run.json: what is known of a run, as the plugin has seen it."""

from __future__ import annotations

import collections
import dataclasses
import json
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
class RunRecord:
    """One run.

    Attributes:
        engine: Where Postgres came from, and why, if pytest has come to that.
        fail_under: The percentage that the coverage had to reach, if it was measured and there is one.
        exit_code: pytest's.
        seconds: How long the run took, if pytest has come to its end.
        tests: What became of each test.
    """

    engine: str | None = None
    fail_under: float | None = None
    exit_code: int | None = None
    seconds: float | None = None
    tests: tuple[Test, ...] = ()

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
            return cls(**values, tests=tests)
        except FileNotFoundError:
            raise ReportsError(f"There is no {FILE} in {folder}.") from None
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise ReportsError(f"{folder / FILE} cannot be read: {error}.") from None
