"""What is written looks as the project's own formatters would have it, if they have formatted the file before."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from greenroom.processes import begins

_HOOKS: Final = ".pre-commit-config.yaml"

_SECONDS: Final = 30
"""Seconds for one file and one step."""

_AT_ONCE: Final = 4


@dataclass(frozen=True, eq=False)
class _Tool:
    """A formatter.

    Attributes:
        name: Its command, module and package.
        files: The files that configure it alone.
        tables: The files that may configure it, each with how its table begins.
        hook: What names it in a configuration of pre-commit.
        steps: The arguments that format what is read from stdin, in this order.
    """

    name: str
    files: tuple[str, ...]
    tables: Mapping[str, str]
    hook: str
    steps: tuple[tuple[str, ...], ...]


_RUFF: Final = ("--quiet", "--force-exclude", "--stdin-filename", "{path}", "-")

_TOOLS: Final = (
    _Tool(
        "isort",
        (".isort.cfg",),
        {"pyproject.toml": "[tool.isort]", "setup.cfg": "isort]", "tox.ini": "isort]"},
        r"id:\s*isort\b",
        (("--quiet", "--stdout", "--settings-path", "{folder}", "--filename", "{path}", "-"),),
    ),
    _Tool(
        "ruff",
        ("ruff.toml", ".ruff.toml"),
        {"pyproject.toml": "[tool.ruff"},
        r"id:\s*ruff|ruff-pre-commit",
        (("check", "--select", "I", "--fix", "--exit-zero", *_RUFF), ("format", *_RUFF)),
    ),
    _Tool(
        "black",
        (),
        {"pyproject.toml": "[tool.black]"},
        r"id:\s*black\b",
        (("--quiet", "--stdin-filename", "{path}", "-"),),
    ),
)
"""Imports are sorted before code is formatted: that order is stable."""


class Formatting:
    """The formatters of one project.

    Attributes:
        notes: What a reader should know, each with its place.

    Args:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self.notes: list[tuple[str, str]] = []
        self._root = root
        self._broken: set[str] = set()
        self._told: set[_Tool] = set()

    def formatted(self, path: Path, before: bytes, after: bytes) -> bytes:
        """A file's new text, formatted by each formatter that would have left its old text as it was.

        Args:
            path: The file.
            before: What is in it.
            after: What is to be in it.
        """
        if before == after:
            return after
        for tool, command in self._tools.items():
            for step in tool.steps:
                words = [each.format(path=path, folder=path.parent) for each in step]
                if self._run(tool, [*command, *words], path, before) == before:
                    found = self._run(tool, [*command, *words], path, after)
                    after = after if found is None else found
        return after

    def all(self, files: Mapping[Path, tuple[bytes, bytes]]) -> dict[Path, tuple[bytes, bytes]]:
        """The same for many files."""
        if not files or not self._tools:
            return dict(files)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            texts = pool.map(lambda path: self.formatted(path, *files[path]), files)
            return {path: (files[path][0], text) for path, text in zip(files, texts, strict=True)}

    @cached_property
    def _tools(self) -> dict[_Tool, list[str]]:
        """The formatters that the project uses and that are there, each with its command."""
        folders = self._folders()
        found = {}
        for tool in _TOOLS:
            named = next((file for folder in folders if (file := _naming(folder, tool))), None)
            if named is None:
                continue
            if command := _command(tool.name):
                found[tool] = command
            else:
                self._say(f"the project formats with {tool.name}, which is not installed here", named)
        return found

    def _folders(self) -> list[Path]:
        """The folders that may configure a formatter: the project's, and those above it in the same checkout."""
        above = [self._root, *self._root.parents]
        top = next((each for each in above if (each / ".git").exists()), self._root)
        return above[: above.index(top) + 1]

    def _run(self, tool: _Tool, command: list[str], path: Path, text: bytes) -> bytes | None:
        """What a formatter makes of a text; None if it fails."""
        if tool.name in self._broken:
            return None
        begins(command)
        try:
            done = subprocess.run(
                command, input=text, capture_output=True, cwd=self._root, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            self._broken.add(tool.name)
            self._tell(tool, path, f"was not done within {_SECONDS} s")
            return None
        except OSError as error:
            self._broken.add(tool.name)
            self._tell(tool, path, f"does not run: {error.strerror}")
            return None
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            self._tell(tool, path, f"fails: {said[0] if said else f'exit code {done.returncode}'}")
            return None
        return done.stdout

    def _tell(self, tool: _Tool, path: Path, why: str) -> None:
        """Say once what a formatter does not do."""
        if tool not in self._told:
            self._told.add(tool)
            self._say(f"{tool.name}, which formats the project, {why}", path)

    def _say(self, what: str, path: Path) -> None:
        place = os.path.relpath(path, self._root)
        self.notes.append((f"{what}; look at the format of what was converted", place))


def _naming(folder: Path, tool: _Tool) -> Path | None:
    """The file of a folder that configures a formatter, runs it before each commit, or depends on it."""
    texts = dict.fromkeys((*tool.tables, "pyproject.toml", _HOOKS), "")
    texts |= {name: _text(folder / name) for name in texts}
    declared = rf"""(?m)["']{tool.name}\s*(?:["'=<>~!;\[]|@)|^{tool.name}\s*="""
    listed = rf"(?m)^{tool.name}\s*(?:[=<>~!;#\[\\]|$)"
    found = [
        *(name for name in tool.files if (folder / name).is_file()),
        *(name for name, begin in tool.tables.items() if begin in texts[name]),
        *([_HOOKS] if re.search(tool.hook, texts[_HOOKS]) else []),
        *(["pyproject.toml"] if re.search(declared, texts["pyproject.toml"]) else []),
    ]
    if found:
        return folder / found[0]
    lists = [path for pattern in ("requirements*.txt", "requirements/*.txt") for path in folder.glob(pattern)]
    return next((path for path in lists if re.search(listed, _text(path))), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _command(name: str) -> list[str]:
    """The command of a formatter: that of this environment before another one; empty if there is none."""
    beside = Path(sys.executable).parent / name
    if beside.is_file() and os.access(beside, os.X_OK):
        return [str(beside)]
    if find_spec(name) is not None:
        return [sys.executable, "-m", name]
    elsewhere = shutil.which(name)
    return [elsewhere] if elsewhere else []
