"""A copy of this checkout in which greenroom's commands run, on Docker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from greenroom import runtime
from tests.docker.conftest import HERE, docker

_KEPT = (
    "app",
    "compose",
    "greenroom",
    "requirements",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "Makefile",
    "tests",
)

PASSING = (
    "def test_passes(session):\n    assert session.connection().exec_driver_sql('SELECT 1').scalar() == 1\n"
)


class Copy:
    """A checkout of its own, with a suite that is as small as a test needs it.

    Args:
        root: Where to make it.
        images: The prefix of the base images.
    """

    def __init__(self, root: Path, images: str) -> None:
        self.root = root
        self.identity = runtime.identity(root)
        root.mkdir()
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *_KEPT],
            cwd=HERE, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if not name.startswith("tests/") and (HERE / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(HERE / name, root / name)
        self.environ = {
            **os.environ,
            "GREENROOM_ENGINE": "docker",
            "GREENROOM_HINTS": "make",
            "IMAGES": images,
            # As a user has it who sets nothing.
            **dict.fromkeys(("CI", "GITHUB_ACTIONS", "PYTEST_ADDOPTS", "NETWORK"), ""),
        }
        for name in ("GREENROOM_RUN", "GREENROOM_REPORTS", "COVERAGE_FILE", "PYTEST_XDIST_WORKER"):
            self.environ.pop(name, None)
        self.write("tests/test_it.py", PASSING)
        # Its tests are those that are written here.
        self.edit("pyproject.toml", "migration_tests = true", "migration_tests = false")

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file."""
        text = (self.root / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start a greenroom command, in a process group as a terminal has it."""
        return subprocess.Popen(
            [sys.executable, "-m", "greenroom", "-C", str(self.root), *words],
            cwd=self.root,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, **environ: str) -> tuple[int, str]:
        """Run a greenroom command. Returns its exit code and what it said."""
        process = self.start(*words, **environ)
        try:
            said, _ = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            raise
        return process.returncode, said

    def done(self, *words: str, **environ: str) -> str:
        """Run a greenroom command that succeeds. Returns what it said."""
        code, said = self.run(*words, **environ)
        assert code == 0, said
        return said

    def test(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Run the small suite in the stack."""
        return self.run("test", "--", "tests", "-p", "no:randomly", *arguments, **environ)

    def left(self) -> list[str]:
        """What there is of this checkout's stacks: containers, volumes, networks, images of runs, folders of runs."""
        names = docker("ps", "--all", "--format", "{{.Names}}").split()
        names += docker("volume", "ls", "--format", "{{.Name}}").split()
        names += docker("network", "ls", "--format", "{{.Name}}").split()
        names += [
            f"image {tag}" for tag in docker("image", "ls", "--format", "{{.Tag}}", "greenroom-ci").split()
        ]
        found = [name for name in names if self.identity in name]
        folder = runtime.folder(self.root)
        return found + [str(path) for path in (folder.glob("run-*") if folder.is_dir() else ())]

    def container(self, service: str, project: str = "test") -> str:
        """The id of a service's container."""
        (name,) = docker(
            "ps", "--quiet", "--no-trunc",
            f"--filter=label=com.docker.compose.project={self.identity}-{project}",
            f"--filter=label=com.docker.compose.service={service}",
        ).split()  # fmt: skip
        return name


def until(process: subprocess.Popen[str], *marks: str) -> str:
    """Read what a command says until a line has one of the marks. Returns all that was read."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if any(mark in line for mark in marks):
            return read
    raise AssertionError(f"none of {marks} in:\n{read}")


def inspect(container: str) -> dict[str, Any]:
    """All that Docker knows of a container."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", container))
    return found[0]
