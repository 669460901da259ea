"""The commands that install a project with what its suite needs: by its own package manager, and from its lock if it has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from greenroom.init.packages import Packages
    from greenroom.init.repository import Repository

_FALLBACK: Final = "3.13"
"""The Python of a project that does not say which it wants."""

_GROUPS: Final = ("dev", "test", "tests", "testing")
"""Names of groups of dependencies that a suite may need."""

_READS: Final = (
    "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; "
    "print(*p.get('dependencies', []), {extras}sep='\\n')"
)


class Installing(NamedTuple):
    """How a project is installed.

    Attributes:
        manager: What installs the package manager; empty for pip.
        steps: The commands, in the project's folder.
        inputs: The files that they read, relative to the project's folder.
    """

    manager: str
    steps: list[str]
    inputs: list[str]


def python_version(repository: Repository, project: Path) -> tuple[str, str]:
    """The version of Python that a project is tested with, and the file that says so, relative to the checkout, or an empty text."""
    for folder in dict.fromkeys([project, repository.root]):
        path = folder / ".python-version"
        if path.is_file() and (
            found := re.match(r"\s*(?:cpython-)?(3\.\d+)", path.read_text(encoding="utf-8"))
        ):
            return found[1], path.relative_to(repository.root).as_posix()
    table = repository.toml(project / "pyproject.toml")
    poetry = table.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python", "")
    wanted = re.search(
        r"(?:>=|==|~=|\^|~)\s*(3\.\d+)", str(table.get("project", {}).get("requires-python", poetry))
    )
    return (wanted[1] if wanted and int(wanted[1][2:]) >= 11 else _FALLBACK), ""


def installing(
    repository: Repository, project: Path, packages: Packages, *, itself: bool = True
) -> Installing:
    """How to install a project.

    Args:
        repository: The checkout.
        project: The project's folder.
        packages: How it gets its packages.
        itself: With the project itself; otherwise only what it depends on, so that its sources are not needed.
    """
    table = repository.toml(project / "pyproject.toml")
    extras = [name for name in _GROUPS if name in table.get("project", {}).get("optional-dependencies", {})]
    inputs = ["pyproject.toml", f"{packages.manager}.lock"]
    match packages.manager:
        case "uv":
            groups = [name for name in _GROUPS[1:] if name in table.get("dependency-groups", {})]
            words = [
                "uv sync --locked",
                *(f"--extra {name}" for name in extras),
                *(f"--group {name}" for name in groups),
            ]
            return _by("uv", words, "" if itself else "--no-install-project", inputs)
        case "poetry":
            own = table.get("tool", {}).get("poetry", {}).get("group", {})
            optional = [name for name in _GROUPS if own.get(name, {}).get("optional")]
            words = ["poetry install", *([f"--with {','.join(optional)}"] if optional else [])]
            words += [f"--extras {name}" for name in extras]
            return _by("poetry", words, "" if itself else "--no-root", inputs)
        case "pdm":
            words = ["pdm sync", *(f"--group {name}" for name in extras)]
            return _by("pdm", words, "" if itself else "--no-self", inputs)
        case "pipenv":
            return _by("pipenv", ["pipenv sync --dev"], "", ["Pipfile", "Pipfile.lock"])
        case "hatch":
            return Installing("python -m pip install hatch", [], inputs)
    return _by_pip(table, project, extras, itself=itself)


def _by(manager: str, words: list[str], more: str, inputs: list[str]) -> Installing:
    return Installing(f"python -m pip install {manager}", [" ".join(filter(None, [*words, more]))], inputs)


def _by_pip(table: dict[str, Any], project: Path, extras: list[str], *, itself: bool) -> Installing:
    """By pip: each requirements file that a suite needs, and the project itself if it can be installed."""
    steps, inputs = [], []
    names = "|".join(_GROUPS)
    wanted = re.compile(
        rf"requirements(?:[-_./]?(?:{names}|development|base|app))?\.txt|(?:{names})[-_]requirements\.txt"
    )
    found = [*project.glob("*.txt"), *project.glob("requirements/*.txt")]
    for path in sorted(found, key=lambda each: (len(each.name), each.name)):
        name = path.relative_to(project).as_posix()
        if wanted.fullmatch(name):
            # A lock needs no resolving, and pip up to 24.0 refuses one with an extra in it as soon as there is a newer release.
            locked = "--hash=" in path.read_text(encoding="utf-8")
            options = ["--no-deps", "--require-hashes"] if locked else []
            steps.append(" ".join(["python -m pip install", *options, "-r", name]))
            inputs.append(name)
    if "project" in table and (not steps or (itself and "build-system" in table)):
        if itself:
            named = f"[{','.join(extras)}]" if extras else ""
            steps.append(f"python -m pip install -e '.{named}'" if named else "python -m pip install -e .")
        else:
            listed = "".join(f"*p['optional-dependencies']['{name}'], " for name in extras)
            steps.append(f'python -c "{_READS.format(extras=listed)}" >/tmp/requirements.txt')
            steps.append("python -m pip install -r /tmp/requirements.txt")
        inputs.append("pyproject.toml")
    return Installing("", steps or ["python -m pip install 'greenroom[ci,embedded]'"], inputs)
