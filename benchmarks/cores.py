"""`python -m benchmarks.cores`: which of coverage's cores is exact for an asynchronous application on this Python, and its cost.

The program tests/greenroom/projects/traced says of each line whether its tests run it, so a report can be wrong in two ways: a line
that was run counts as not run, or the other way round. The cost is the CPU time of the reference suite, as a ratio to the
same without coverage, the configurations one after the other in each round.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]

PROGRAM: Final = ROOT / "tests/greenroom/projects/traced"

BOTH: Final = ("greenlet", "thread")


@dataclasses.dataclass(frozen=True)
class Setting:
    """A configuration of coverage.

    Attributes:
        core: `ctrace`, `sysmon` or `pytrace`.
        concurrency: The libraries whose switches are followed.
        branch: Branches are measured, too.
    """

    core: str
    concurrency: tuple[str, ...]
    branch: bool

    @property
    def name(self) -> str:
        """As a row of the table says it."""
        return f"{self.core}, {' and '.join(self.concurrency)}, {'branches' if self.branch else 'lines'}"

    @property
    def text(self) -> str:
        """As pyproject.toml has it."""
        return (
            f"[tool.coverage.run]\nbranch = {str(self.branch).lower()}\n"
            f'concurrency = {json.dumps(list(self.concurrency))}\ncore = "{self.core}"\n'
        )

    @property
    def why_not(self) -> str:
        """Why it is not available on this Python; empty if it is. Coverage itself would fall back, with a warning."""
        if self.core != "sysmon":
            return ""
        if sys.version_info < (3, 12):
            return "sys.monitoring came with Python 3.12"
        if "greenlet" in self.concurrency:
            return "coverage does not allow greenlet with sysmon"
        if self.branch and sys.version_info < (3, 14):
            return "sysmon measures branches from Python 3.14 on"
        return ""


@dataclasses.dataclass(frozen=True)
class Plugin(Setting):
    """What greenroom's plugin of coverage chooses.

    Attributes:
        branch: Branches are measured, too.
    """

    core: str = dataclasses.field(init=False, default="")
    concurrency: tuple[str, ...] = dataclasses.field(init=False, default=())
    branch: bool

    @property
    def text(self) -> str:
        """As pyproject.toml has it."""
        return f'[tool.coverage.run]\nbranch = {str(self.branch).lower()}\nplugins = ["greenroom.coverage"]\n'


SETTINGS: Final = [
    Setting(core, concurrency, branch)
    for core in ("ctrace", "sysmon")
    for concurrency in (BOTH, ("thread",))
    for branch in (False, True)
]


@dataclasses.dataclass(frozen=True)
class Wrong:
    """What a report says that is not so, each as `file: line`.

    Attributes:
        lost: Lines that were run and count as not run.
        invented: Lines that were not run and count as run.
        branches: Lines whose branches are wrong.
    """

    lost: list[str]
    invented: list[str]
    branches: list[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.invented or self.branches)


def compare(report: Path, *, branch: bool) -> Wrong:
    """What a report of the program in JSON has wrong.

    Args:
        report: The file.
        branch: Branches were measured.
    """
    lost: list[str] = []
    invented: list[str] = []
    branches: list[str] = []
    for name, found in json.loads(report.read_text())["files"].items():
        if not name.startswith("traced/"):
            continue
        lines = (PROGRAM / name).read_text().splitlines()
        never = {number for number, line in enumerate(lines, 1) if line.endswith("# not run")}
        wrong = [set(found["missing_lines"]) - never, never & set(found["executed_lines"]), set()]
        if branch:
            partial = {start for start, _end in found["missing_branches"] if start in found["executed_lines"]}
            wrong[2] = partial ^ {
                number for number, line in enumerate(lines, 1) if line.endswith("# partial")
            }
        for said, numbers in zip((lost, invented, branches), wrong, strict=True):
            said += [f"{name}: {lines[number - 1].strip()}" for number in sorted(numbers)]
    return Wrong(lost, invented, branches)


def measured(setting: Setting, folder: Path, *, workers: int = 0, parts: bool = False) -> Wrong:
    """Run the program's tests under a configuration. Returns what its report has wrong.

    Args:
        setting: The configuration.
        folder: An empty folder.
        workers: Those of pytest-xdist; 0 for none.
        parts: In two runs, whose data `coverage combine` puts together.

    Raises:
        subprocess.CalledProcessError: The tests failed.
    """
    shutil.copytree(PROGRAM, folder, dirs_exist_ok=True)
    with (folder / "pyproject.toml").open("a") as file:
        file.write(setting.text)
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COV", "PYTEST_", "GREENROOM_"))
    }

    def call(*words: str, **more: str) -> None:
        subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, env=clean | {"GREENROOM_ENGINE": "embedded"} | more,
            check=True, capture_output=True, text=True,
        )  # fmt: skip

    pytest = (
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        "-W",
        "error::coverage.exceptions.CoverageWarning",
        "--cov=traced",
    )
    if parts:
        for number, tests in enumerate(("created or twice or together", "threads or stream or empty")):
            call(*pytest, "--cov-report=", "-k", tests, COVERAGE_FILE=f".coverage.{number}")
        call("coverage", "combine")
    else:
        call(*pytest, "--cov-report=", *(["-n", str(workers)] if workers else []))
    call("coverage", "json", "-q", "-o", "report.json")
    return compare(folder / "report.json", branch=setting.branch)


def cost(setting: Setting | None) -> float:
    """Seconds of CPU time that the reference suite takes under a configuration, or without coverage.

    Args:
        setting: The configuration; None for no coverage.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = ["-p", "no:cov"]
        if setting is not None:
            (Path(folder) / "pyproject.toml").write_text(setting.text)
            words = ["--cov=app", f"--cov-config={folder}/pyproject.toml", "--cov-report="]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:randomly", "-o", "addopts=", *words, "tests/unit",
             "tests/integration", "tests/api"],
            cwd=ROOT, check=True, capture_output=True,
            env=os.environ | {"COVERAGE_FILE": f"{folder}/data", "GREENROOM_ENGINE": "embedded"},
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


WAYS: Final[dict[str, dict[str, Any]]] = {
    "one process": {},
    "-n 2": {"workers": 2},
    "coverage combine": {"parts": True},
}
"""How the program's tests are run."""


def judged(setting: Setting) -> str:
    """How exact a configuration is, for a table."""
    said = []
    for way, options in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            wrong = measured(setting, Path(folder) / "traced", **options)
        for what in dataclasses.fields(wrong):
            lines = getattr(wrong, what.name)
            said += [f"{way}: {len(lines)} {what.name}"] if lines else []
    return "; ".join(said) or "exact"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of the suite by configuration (default: 3)"
    )
    options = parser.parse_args()
    available = [setting for setting in SETTINGS if not setting.why_not]
    seconds: dict[Setting | None, list[float]] = {setting: [] for setting in (None, *available)}
    for _ in range(options.rounds):
        for setting in random.sample(list(seconds), len(seconds)):
            seconds[setting].append(cost(setting))
    base = statistics.median(seconds[None]) if options.rounds else 0.0
    print(f"Python {platform.python_version()}, coverage {metadata.version('coverage')}")
    if options.rounds:
        print(f"The reference suite takes {base:.1f} s of CPU time without coverage.")
    print("\n| Configuration | Exactness | CPU time |\n| --- | --- | --- |")
    for setting in SETTINGS:
        if setting.why_not:
            print(f"| {setting.name} | {setting.why_not} | |")
            continue
        ratio = f"{statistics.median(seconds[setting]) / base:.2f} ×" if base else ""
        print(f"| {setting.name} | {judged(setting)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
