"""What a suite no longer needs when nothing in it is asynchronous any more: settings, which go, and packages, which are named."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from greenroom.convert.reading.suite import files as suite_files
from greenroom.convert.writing.setting_texts import SECTIONS, without

_PACKAGES: Final = {
    "pytest-asyncio": r"pytest_asyncio",
    "asgi-lifespan": r"asgi_lifespan",
    "async-asgi-testclient": r"async_asgi_testclient",
    "anyio": r"anyio",
}
"""Packages of asynchronous tests, each with the module that it is imported as."""

_SKIPPED: Final = {"node_modules", "site-packages", "__pycache__"}


class Settings:
    """The settings and dependencies of one project.

    Attributes:
        notes: What a reader should know, each with its place.

    Args:
        root: The project's folder.
        targets: The files and folders that are converted.
        changed: The files that are converted, each with its new text.
    """

    def __init__(self, root: Path, targets: Collection[Path], changed: Mapping[Path, bytes]) -> None:
        self.notes: list[tuple[str, str]] = []
        self._root = root
        self._targets = targets
        self._changed = changed
        self._sources = {path: self._text(path) for path in _sources(root)}

    def cleaned(self) -> dict[Path, tuple[bytes, bytes]]:
        """The files of pytest's settings that have some for asynchronous tests: what is in each, and what is to be.

        None if there are asynchronous tests or fixtures elsewhere in the project. That there are none left in the targets is
        the caller's to know.
        """
        converted = {file for target in self._targets for file in suite_files(target)}
        tests = {*suite_files(self._root)}
        elsewhere = (
            path
            for path, text in self._sources.items()
            if path not in converted and (path in tests or "import pytest" in text or "from pytest" in text)
        )
        if self._imports("pytest_asyncio") or any(
            _is_asynchronous(self._sources[path]) for path in elsewhere
        ):
            return {}
        self._name_packages()
        found = {}
        for path in self._files():
            before = path.read_bytes()
            try:
                after = without(path.name, before.decode()).encode()
            except UnicodeDecodeError:
                continue
            if after != before:
                found[path] = before, after
        return found

    def _files(self) -> Iterator[Path]:
        """The files that pytest may take its settings from when it runs the targets."""
        folders = {self._root}
        for target in self._targets:
            above = [target, *target.parents]
            folders |= {each for each in above if each.is_relative_to(self._root) and each.is_dir()}
        for folder in sorted(folders):
            for name in SECTIONS:
                if (folder / name).is_file():
                    yield folder / name

    def _name_packages(self) -> None:
        """Name the packages that nothing imports, with the files that ask for them."""
        declared = {name: _declaring(self._root, name) for name in _PACKAGES}
        unused = [name for name in _PACKAGES if declared[name] and not self._imports(_PACKAGES[name])]
        if not unused:
            return
        required = re.compile(rf"required_plugins\s*[:=][^=:]*?\b(?:{'|'.join(unused)})\b")
        files = [path for name in unused for path in declared[name]]
        files += [path for path in self._files() if required.search(self._text(path))]
        said = f"nothing imports {' or '.join(unused)} any more: remove what nothing else needs"
        self.notes += [(said, os.path.relpath(path, self._root)) for path in dict.fromkeys(files)]

    def _imports(self, module: str) -> bool:
        """Whether a file of the project imports a module, or names it as a plugin."""
        named = re.compile(rf"""(?m)^\s*(?:import|from)\s+{module}\b|["']{module}(?:\.plugin)?["']""")
        marked = module == "anyio"
        return any(
            named.search(text) or (marked and re.search(r"mark\.anyio\b|\banyio_backend\b", text))
            for text in self._sources.values()
        )

    def _text(self, path: Path) -> str:
        try:
            content = self._changed[path] if path in self._changed else path.read_bytes()
        except OSError:
            return ""
        return content.decode(errors="replace")


def _sources(root: Path) -> Iterator[Path]:
    """The project's Python files, without its environments and what is not its own."""
    for folder, below, names in os.walk(root):
        below[:] = [
            each
            for each in below
            if not each.startswith(".")
            and each not in _SKIPPED
            and not Path(folder, each, "pyvenv.cfg").exists()
        ]
        yield from (Path(folder, each) for each in names if each.endswith(".py"))


def _is_asynchronous(text: str) -> bool:
    """Whether a file has asynchronous tests or fixtures, or cannot be read."""
    if "async def" not in text:
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return True
    return any(
        isinstance(node, ast.AsyncFunctionDef)
        and (
            node.name.startswith("test")
            or any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list)
        )
        for node in ast.walk(tree)
    )


def _declaring(root: Path, package: str) -> list[Path]:
    """The files that have a package among the project's dependencies."""
    name = package.replace("-", "[-_.]")
    quoted = rf"""(?mi)["']{name}\s*(?:["'=<>~!;\[]|@)|^{name}\s*="""
    listed = rf"(?mi)^{name}\s*(?:[=<>~!;#\[\\]|$)"
    texts = [(root / "pyproject.toml", quoted)]
    for pattern in ("requirements*.txt", "requirements*.in", "requirements/*.txt", "requirements/*.in"):
        texts += [(each, listed) for each in sorted(root.glob(pattern))]
    return [
        path
        for path, pattern in texts
        if path.is_file() and re.search(pattern, path.read_text(encoding="utf-8", errors="replace"))
    ]
