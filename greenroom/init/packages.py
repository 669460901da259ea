"""The project's package manager, its interpreter, and what adding greenroom would change."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.floors import FLOORS, older
from greenroom.init.repository import Repository

_ADD: Final = {
    "uv": ["uv", "add", "--dev"],
    "poetry": ["poetry", "add", "--group", "dev"],
    "pdm": ["pdm", "add", "--dev"],
    "pipenv": ["pipenv", "install", "--dev"],
}
"""How each package manager adds a dependency for development."""

_RUN: Final = {
    "uv": "uv run ",
    "poetry": "poetry run ",
    "pdm": "pdm run ",
    "pipenv": "pipenv run ",
    "hatch": "hatch run ",
}


class Packages(NamedTuple):
    """How a project gets its packages.

    Attributes:
        manager: uv, poetry, pdm, pipenv, hatch or pip.
        folder: Where it is run.
        declared: Greenroom is among the declared dependencies, with the extras that are needed.
        older: Locked packages that greenroom needs newer, each with its version.
        extras: Greenroom's extras that the project needs.
    """

    manager: str
    folder: Path
    declared: bool
    older: list[str]
    extras: tuple[str, ...]

    @property
    def wanted(self) -> str:
        """What is added."""
        return f"greenroom[{','.join(self.extras)}]"

    @property
    def command(self) -> list[str] | None:
        """What adds greenroom; None if that is to be written by hand."""
        command = _ADD.get(self.manager)
        return [*command, self.wanted] if command else None

    @property
    def said(self) -> str:
        """What adds greenroom, for a person."""
        if self.manager == "hatch":
            return f'add "{self.wanted}" to the dependencies of the environment that runs the tests'
        if self.command is None:
            return f"pip install '{self.wanted}', and add it to the requirements for development"
        return " ".join([*self.command[:-1], f"'{self.wanted}'"])

    @property
    def runs(self) -> str:
        """What stands before a command that runs in the project's environment."""
        return _RUN.get(self.manager, "")


def packages(repository: Repository, project: Path, extras: tuple[str, ...] = ("embedded",)) -> Packages:
    """Find out how a project gets its packages.

    Args:
        repository: The files.
        project: The project's folder.
        extras: Greenroom's extras that it needs.
    """
    table = repository.toml(project / "pyproject.toml")
    tool = table.get("tool", {})
    above = [folder for folder in (project, *project.parents) if folder.is_relative_to(repository.root)]
    locks = (("uv", "uv.lock"), ("poetry", "poetry.lock"), ("pdm", "pdm.lock"), ("pipenv", "Pipfile.lock"))
    manager = next((name for name, lock in locks if any((folder / lock).is_file() for folder in above)), None)
    manager = manager or next((name for name in ("uv", "poetry", "pdm", "hatch") if name in tool), None)
    if manager == "hatch" and "envs" not in tool.get("hatch", {}):
        manager = None
    written = " ".join(
        repository.text(path)
        for folder in above
        for path in sorted(folder.glob("*"))
        if path.name in {"pyproject.toml", "Pipfile", "setup.cfg"}
        or re.match(r".*requirements.*\.(txt|in)$", path.name)
    )
    found = re.search(
        r"""(?m)(?:^|["'\s])greenroom(?:\[([\w,\s-]+)\])?\s*(?:=\s*\{([^}]*)\}|["'=<>~!@;\s]|$)""",
        _without_table(written),
    )
    # Poetry and Pipenv write the extras into a table.
    said = re.findall(r"[\w-]+", f"{found[1]} {found[2]}") if found else []
    declared = bool(found) and set(extras) - {"embedded"} <= set(said)  # Docker needs no wheel
    return Packages(manager or "pip", project, declared, _older(repository, above), extras)


def _without_table(text: str) -> str:
    return re.sub(r"\[tool\.greenroom[\w.]*\]|#.*", "", text)


def _older(repository: Repository, folders: list[Path]) -> list[str]:
    """Locked packages that are older than greenroom needs them."""
    found = {}
    for folder in folders:
        for path in sorted(folder.glob("*")):
            if path.name in {"uv.lock", "poetry.lock", "pdm.lock"}:
                pins = re.findall(
                    r'name = "([^"]+)"\nversion = "([^"]+)"',
                    repository.text(path) or path.read_text(encoding="utf-8"),
                )
            elif re.match(r".*requirements.*\.txt$", path.name):
                pins = re.findall(r"(?m)^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", repository.text(path))
            else:
                continue
            for name, version in pins:
                key = name.lower()
                if key in FLOORS and older(version, FLOORS[key][1]):
                    found[key] = f"{name} {version} (greenroom needs {FLOORS[key][1]})"
    return list(found.values())


def interpreter(repository: Repository, project: Path) -> tuple[Path | None, str]:
    """The project's Python, in which greenroom is installed, and why; None if there is none."""
    found = []
    for folder in dict.fromkeys([project, repository.root]):
        for name in (".venv", "venv", "env"):
            python = folder / name / "bin" / "python"
            if python.is_file():
                found.append(python)
    if active := os.environ.get("VIRTUAL_ENV"):
        found.insert(0, Path(active, "bin", "python"))
    if (
        Path(sys.prefix).is_relative_to(project)
        or not found
        or Path(sys.prefix) in {each.parent.parent for each in found}
    ):
        found.insert(0, Path(sys.executable))
    for python in dict.fromkeys(found):
        if python.is_file() and has(python, "greenroom"):
            return python, str(python)
    if has(Path(sys.executable), "fastapi"):
        return Path(sys.executable), sys.executable
    return None, f"greenroom is not installed in {found[0]}"


def has(python: Path, package: str) -> bool:
    """Whether a Python has a package."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    done = subprocess.run([python, "-c", code], cwd="/", capture_output=True, check=False)
    return done.returncode == 0


def add(found: Packages) -> str | None:
    """Add greenroom to the dependencies for development. Returns why that did not work, or None."""
    command = found.command
    if command is None or shutil.which(command[0]) is None:
        return f"{found.manager} cannot do that here"
    done = subprocess.run(command, cwd=found.folder, capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode and done.stderr.strip() else None
