"""A checkout in a folder of its own, where the tools that the scripts call are stand-ins that write down their calls."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]
"""The checkout under test."""

TOOLS = (
    *(
        "awk",
        "bash",
        "cat",
        "cksum",
        "cp",
        "cut",
        "date",
        "df",
        "dirname",
        "echo",
        "env",
        "find",
        "git",
        "grep",
        "make",
    ),
    *("mkdir", "mktemp", "mv", "rm", "sed", "sh", "sleep", "tail", "tr", "uname", "xargs"),
)
"""What the scripts may expect of a machine. Nothing else is on PATH, above all no Python and no uv of this one."""


class Checkout:
    """A copy of some files of this checkout, below a folder whose name has a space.

    Args:
        root: The folder.
        tools: The only folder on PATH.
    """

    def __init__(self, root: Path, tools: Path) -> None:
        self.root = root
        self.tools = tools
        self.log = tools.parent / "calls"
        root.mkdir()
        tools.mkdir()
        self.log.touch()
        for tool in TOOLS:
            if found := shutil.which(tool):
                (tools / tool).symlink_to(found)

    def copy(self, *paths: str) -> None:
        """Copy files from this checkout, at the same place."""
        for path in paths:
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / path, self.root / path)

    def write(self, path: str, text: str) -> Path:
        """Write a file of the checkout."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def program(self, path: Path, script: str) -> Path:
        """Write a program: lines of sh that find in `$log` the file for the calls."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\nlog='{self.log}'\n{script}")
        path.chmod(0o755)
        return path

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a run: what is said here, and nothing of ours."""
        return {"PATH": str(self.tools), "HOME": str(self.tools.parent), "LC_ALL": "C", **variables}

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout; stderr goes where stdout goes."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        """What the stand-ins were called with since the last question, a line each."""
        lines = self.log.read_text().splitlines()
        self.log.write_text("")
        return lines

    def python(self, name: str, version: str = "3.13.1", *, ensurepip: bool = True) -> Path:
        """Put an interpreter on PATH that has this version, and makes venvs in which pip only writes down its calls.

        What it is asked to run, the real one runs, and is told another version. What a test writes into the file
        `install` beside the log is run in place of an installation.
        """
        told = ", ".join(version.split("."))
        path = self.tools / name
        return self.program(
            path,
            f"""
lie='
import sys
sys.version_info = ({told}, "final", 0)
sys._base_executable = "{path}"
{"" if ensurepip else 'sys.modules["ensurepip"] = None'}
'
case "$1 $2 $3" in
"-I -S -c") code=$4; shift 4; exec '{sys.executable}' -I -S -c "$lie$code" "$@" ;;
"-I -c "*) code=$3; shift 3; exec '{sys.executable}' -I -c "$lie$code" "$@" ;;
"-I -m venv") echo "venv" >>"$log"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
"-I -m pip") shift 3; echo "pip $*" >>"$log"; [ ! -f "$log.install" ] || . "$log.install" ;;
*) echo "what is: $*" >&2; exit 64 ;;
esac
""",
        )

    def uv(self) -> Path:
        """Put a uv on PATH that copies the interpreter into a venv and writes down what it is to install."""
        return self.program(
            self.tools / "uv",
            """
case "$1" in
--version) echo "uv 1.0" ;;
venv) echo "uv venv" >>"$log"; mkdir -p .venv/bin; cp "$5" .venv/bin/python ;;
pip) echo "uv $*" >>"$log"; [ ! -f "$log.install" ] || . "$log.install" ;;
*) exit 1 ;;
esac
""",
        )

    def install(self, script: str) -> None:
        """What happens in place of an installation, as lines of sh."""
        self.log.with_name(self.log.name + ".install").write_text(script)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout without files, and only the usual tools on PATH."""
    return Checkout(tmp_path / "a checkout", tmp_path / "bin")
