"""A suite run before and after it is converted. What is worse afterwards has the files put back as they were."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from greenroom.config import ASYNC_TESTS
from greenroom.convert.checking.comparing import Difference, Outcomes, counted, differences
from greenroom.convert.checking.outcomes import FILE, PASSED
from greenroom.errors import GreenroomError
from greenroom.output import Say
from greenroom.processes import captured
from greenroom.signals import end_with_parent, uninterrupted

_SECONDS: Final = 3600
"""Seconds that the suite as it is may take."""

_SECONDS_AFTER: Final = 300
"""Seconds that the converted suite may take, if it took less before; else five times as long as then."""

_TAIL: Final = 15
"""How many lines of pytest's output are shown where it did not run the tests."""

Files = Mapping[Path, tuple[bytes, bytes]]
"""The files that are converted, each with its text before and after."""


@dataclass(frozen=True)
class Run:
    """A run of the suite.

    Attributes:
        outcomes: By test, the outcome and the reason.
        seconds: How long it took.
        problem: Why it did not run the tests; empty if it did.
        covered: The lines that were run, by file; None if that was not measured.
    """

    outcomes: Outcomes
    seconds: float
    problem: str
    covered: Mapping[str, set[int]] | None

    def __str__(self) -> str:
        """`12 passed, 1 failed in 3.2 s`."""
        return f"{counted(self.outcomes) or 'no tests'} in {self.seconds:.1f} s"


@dataclass(frozen=True)
class Verdict:
    """What two runs have shown.

    Attributes:
        before: The run of the suite as it was.
        after: That of the converted suite.
        differences: The tests with another outcome, what is worse first.
        uncovered: The lines of the application that only the first one has run: `shop/main.py:12`.
    """

    before: Run
    after: Run
    differences: list[Difference] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)

    @property
    def worse(self) -> int:
        """How many tests are worse."""
        return sum(each.worse for each in self.differences)

    @property
    def holds(self) -> bool:
        """Whether the conversion may stay."""
        return not self.worse and not self.after.problem


def verified(root: Path, app: str, targets: Sequence[Path], files: Files, say: Say) -> Verdict:
    """Run the suite, convert it, and run it again. The files stay converted only if no test is worse.

    Args:
        root: The project's folder.
        app: The application, `module:name`: its package's coverage is compared where pytest-cov is installed.
        targets: The files and folders whose tests are run.
        files: What is converted.
        say: Takes progress.

    Raises:
        GreenroomError: The suite does not run as it is, or somebody has changed a file meanwhile.
    """
    paths = [os.path.relpath(each, root) for each in dict.fromkeys(map(_collected, targets))]
    say(f"running the tests as they are: {' '.join(paths)} …")
    before = _run(root, app, paths, _SECONDS)
    if before.problem or all(outcome != PASSED for outcome, _ in before.outcomes.values()):
        raise GreenroomError(
            "The tests do not run as they are, so there is nothing to compare with: "
            f"{before.problem or f'{before}, none passed.'}\nNothing was written.",
            hint=f"{ASYNC_TESTS}=1 greenroom test {' '.join(paths)}",
        )
    say(f"before: {before}")
    with _written(files, say) as written:
        say("running the converted tests …")
        after = _run(root, app, paths, max(_SECONDS_AFTER, 5 * round(before.seconds)))
        say(f"after: {after}")
        found = differences(before.outcomes, after.outcomes)
        verdict = Verdict(before, after, found, list(_uncovered(root, before, after, {*files})))
        if verdict.holds:
            written.keep()
    return verdict


class _Written:
    """Files that are converted for the time being."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._times = {path: path.stat() for path in files}
        self._kept = False
        self._whole = False

    def keep(self) -> None:
        """They stay converted."""
        self._kept = True

    def write(self) -> None:
        """Write them all."""
        for path, (_before, after) in self._files.items():
            path.write_bytes(after)
        self._whole = True

    def end(self, say: Say) -> None:
        """Put them back as they were, unless they are to be kept. What somebody else has written meanwhile stays."""
        if self._kept:
            return
        for path, (before, after) in self._files.items():
            if self._whole and (not path.is_file() or path.read_bytes() != after):
                say(f"note: {path} was changed while the tests ran, so it stays as it is now")
                continue
            path.write_bytes(before)
            os.utime(path, ns=(self._times[path].st_atime_ns, self._times[path].st_mtime_ns))
        say("what was converted is as it was")


@contextlib.contextmanager
def _written(files: Files, say: Say) -> Iterator[_Written]:
    changed = [path for path, (before, _after) in files.items() if path.read_bytes() != before]
    if changed:
        raise GreenroomError(
            f"{changed[0]} was changed while the tests ran, so nothing was written.",
            hint="greenroom convert --verify",
        )
    written = _Written(files)
    try:
        with uninterrupted():
            written.write()
        yield written
    finally:
        with uninterrupted():
            written.end(say)


def _run(root: Path, app: str, paths: Sequence[str], seconds: int) -> Run:
    """Run the suite once."""
    with tempfile.TemporaryDirectory() as folder:
        file, coverage = Path(folder, "outcomes.json"), Path(folder, "coverage")
        environ = os.environ | {ASYNC_TESTS: "1", FILE: str(file), "COVERAGE_FILE": str(coverage)}
        command = [
            *(
                sys.executable,
                "-m",
                "pytest",
                *paths,
                "-p",
                "greenroom.convert.checking.outcomes",
                "-p",
                "no:randomly",
            ),
            *("--maxfail=0", "--continue-on-collection-errors", "--greenroom-keep-failed=0"),
        ]
        package = app.partition(":")[0].partition(".")[0]
        measures = bool(package) and find_spec("pytest_cov") is not None
        if measures:
            command += [f"--cov={package}", "--cov-report="]
        start = time.monotonic()
        try:
            done = captured(
                command,
                environ,
                seconds=seconds,
                cwd=root,
                merged=True,
                preexec_fn=end_with_parent(signal.SIGTERM),
            )
        except subprocess.TimeoutExpired:
            return Run({}, time.monotonic() - start, f"It was not done within {seconds} s.", None)
        took = time.monotonic() - start
        outcomes = _outcomes(file)
        problem = ""
        if done.returncode not in (0, 1) or not outcomes:
            tail = "\n".join(f"  {line}" for line in done.stdout.rstrip().splitlines()[-_TAIL:])
            problem = f"pytest ended with {done.returncode}:\n{tail}"
        return Run(outcomes, took, problem, _covered(coverage) if measures else None)


def _outcomes(file: Path) -> dict[str, tuple[str, str]]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {test: (outcome, reason) for test, (outcome, reason) in read.items()}


def _covered(file: Path) -> dict[str, set[int]] | None:
    """The lines that were run, from coverage's file."""
    if not file.is_file():
        return None
    from coverage import CoverageData

    data = CoverageData(str(file))
    data.read()
    return {path: set(data.lines(path) or ()) for path in data.measured_files()}


def _uncovered(root: Path, before: Run, after: Run, converted: set[Path]) -> Iterator[str]:
    """The lines that only the first run has run."""
    if before.covered is None or after.covered is None:
        return
    for name in sorted(before.covered):
        path = root / name
        if path in converted or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in sorted(before.covered[name] - after.covered.get(name, set())):
            if 0 < line <= len(text):
                yield f"{os.path.relpath(path, root)}:{line}: {text[line - 1].strip()}"


def _collected(target: Path) -> Path:
    """What pytest runs for a target: of a conftest or a file of helpers, the tests beside it."""
    is_test = any(fnmatch.fnmatch(target.name, each) for each in ("test_*.py", "*_test.py", "tests.py"))
    return target if is_test or target.is_dir() else target.parent
