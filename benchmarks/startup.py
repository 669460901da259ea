"""From nothing to a first test, on the embedded engine and on Docker, in a clone of this repository."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.measure import Spread
from benchmarks.suites import ROOT

ONE: Final = "tests/api/test_health.py"

PYTHON: Final = ROOT / ".venv" / "bin" / "python"
"""Of the checkout: what a user has, without the plugins of others."""

STEPS: Final = {
    "cold: no server, no template; one file of tests": ["test", "--", ONE, "-n0", "--no-cov", "-q"],
    "cold: greenroom up": ["up"],
    "warm: one file of tests": ["test", "--", ONE, "-n0", "--no-cov", "-q"],
    "greenroom down": ["down"],
}
"""In this order: each finds what the ones before have left."""


def measure(*, rounds: int) -> dict[str, dict[str, Spread] | str]:
    """The seconds of each step, by engine; for an engine that is not available, the reason.

    Args:
        rounds: How often.
    """
    found: dict[str, dict[str, Spread] | str] = {}
    with _clone() as clone:
        for engine in ("embedded", "docker"):
            if (why_not := _why_not(clone, engine)) is not None:
                found[engine] = why_not
                continue
            seconds: dict[str, list[float]] = {name: [] for name in STEPS}
            for _ in range(rounds):
                for name, command in STEPS.items():
                    start = time.perf_counter()
                    done = _greenroom(clone, engine, *command)
                    seconds[name].append(time.perf_counter() - start)
                    if done.returncode != 0:
                        raise RuntimeError(f"greenroom {' '.join(command)}:\n{done.stdout}{done.stderr}")
            found[engine] = {name: Spread.of(times) for name, times in seconds.items()}
    return found


def _why_not(clone: Path, engine: str) -> str | None:
    """Return why an engine is not available, by starting it once, which also builds its images."""
    done = _greenroom(clone, engine, "up")
    _greenroom(clone, engine, "down")
    return None if done.returncode == 0 else " ".join((done.stdout + done.stderr).split())


def _greenroom(clone: Path, engine: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-m", "greenroom", *command],
        cwd=clone,
        env=os.environ | {"GREENROOM_ENGINE": engine},
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def _clone() -> Iterator[Path]:
    """A clone, so that the test environment of this checkout is left as it is."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "greenroom"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        yield clone
