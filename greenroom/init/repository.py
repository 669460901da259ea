"""A repository's files, read and parsed once. Files that git ignores are not looked at: they hold people's own secrets."""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import re
import subprocess
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from greenroom.init.section import Section
from greenroom.init.settings import BEFORE

_SKIPPED: Final = frozenset(
    [
        ".git",
        ".hg",
        ".tox",
        ".nox",
        ".venv",
        "venv",
        "env",
        "node_modules",
        "site-packages",
        "__pycache__",
        "build",
        "dist",
        ".mypy_cache",
        ".ruff_cache",
    ]
)

_LARGEST: Final = 1_000_000
"""Bytes of a file that is read."""

ROOTS: Final = ("pyproject.toml", "setup.cfg", "setup.py", "Pipfile")
"""Files that mark a project's folder."""

_SETTINGS: Final = ("pytest.ini", "tox.ini", "requirements.txt")
"""Files that mark it as well, unless the folder is a package: one may have pytest's settings in it, and is no project."""


class Module:
    """A parsed Python file.

    Attributes:
        path: The file.
        tree: Its syntax.
    """

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree


class Repository:
    """The files below a folder.

    Args:
        root: The folder: a checkout, or one project of it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unparsed: list[Path] = []
        self._texts: dict[Path, str] = {}

    @functools.cached_property
    def files(self) -> list[Path]:
        """All files, in the order of their paths, those nearer to the root first."""
        try:
            listed = subprocess.run(
                ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                cwd=self.root, capture_output=True, check=True,
            ).stdout.decode(errors="replace")  # fmt: skip
            found = [self.root / name for name in listed.split("\0") if name]
        except (OSError, subprocess.CalledProcessError):
            found = list(self._walked())
        found = [each for each in found if each.name != BEFORE]
        kept = {each for each in found if not _SKIPPED & set(each.relative_to(self.root).parts)}
        return sorted(
            (each for each in kept if each.is_file()), key=lambda each: (len(each.parts), str(each))
        )

    def _walked(self) -> Iterator[Path]:
        for folder, names, files in os.walk(self.root):
            names[:] = [name for name in names if name not in _SKIPPED]
            yield from (Path(folder, name) for name in files)

    def text(self, path: Path) -> str:
        """A file's text; empty if it is none, or too large."""
        if path not in self._texts:
            text = ""
            with contextlib.suppress(OSError, UnicodeDecodeError):
                if path.stat().st_size <= _LARGEST:
                    text = path.read_text(encoding="utf-8")
            if path.name == "pyproject.toml":
                text = Section(text).others  # what greenroom has written there says nothing about the project
            self._texts[path] = text
        return self._texts[path]

    def toml(self, path: Path) -> dict[str, Any]:
        """A TOML file's content; empty if there is none, or it is not valid."""
        try:
            return tomllib.loads(self.text(path))
        except tomllib.TOMLDecodeError:
            return {}

    def shown(self, path: Path, line: int | None = None) -> str:
        """A path for a person, with a line."""
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        return f"{name}:{line}" if line else name

    @functools.cached_property
    def modules(self) -> list[Module]:
        """All Python files that this Python can parse. The others are in `unparsed`."""
        found = []
        for path in self.files:
            if path.suffix == ".py":
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        found.append(Module(path, _parsed(self.text(path))))
                except (SyntaxError, ValueError):
                    self.unparsed.append(path)
        return found

    def is_test(self, path: Path) -> bool:
        """Whether a file belongs to the tests."""
        parts = path.relative_to(self.root).parts
        return bool({"tests", "test", "testing"} & set(parts[:-1])) or bool(
            re.match(r"(test_.*|.*_test|conftest|noxfile)\.py$", parts[-1])
        )

    @functools.cached_property
    def _imported(self) -> Counter[str]:
        """How often each module is imported by the repository's own code, with the packages around it."""
        count: Counter[str] = Counter()
        for module in self.modules:
            for node in ast.walk(module.tree):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for name in names:
                    parts = name.split(".")
                    count.update(".".join(parts[:end]) for end in range(1, len(parts) + 1))
        return count

    def project(self, path: Path) -> Path:
        """The folder of the project that a file belongs to: the nearest above it that has a project's files."""
        for folder in path.parents:
            marks = ROOTS if (folder / "__init__.py").is_file() else ROOTS + _SETTINGS
            if any((folder / name).is_file() for name in marks) or folder == self.root:
                return folder
        return self.root

    def name(self, path: Path, project: Path) -> str:
        """The name that a file is imported by: the one that the repository's own imports use.

        Args:
            path: The file.
            project: The folder of its project.
        """
        bases = [project]
        if path.is_relative_to(project / "src"):
            bases.insert(0, project / "src")
        names = []
        for base in bases:
            parts = list(path.relative_to(base).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            names.append(".".join(parts))
        return max(names, key=lambda name: self._imported[name.split(".")[0]] if "." in name else 0)


_UNBRACKETED: Final = re.compile(r"^(\s*except )([\w.]+(?:\s*,\s*[\w.]+)+)(\s*:)", re.MULTILINE)
"""What only Python 3.14 and newer can parse, and what its projects are full of since formatters write it."""


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(_UNBRACKETED.sub(r"\1(\2)\3", source))
