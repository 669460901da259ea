"""A workflow of GitHub Actions that runs the project's suite, on the embedded engine and with the project's own packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom.init.section import digest

if TYPE_CHECKING:
    from greenroom.init.packages import Packages
    from greenroom.init.repository import Repository

NAME: Final = ".github/workflows/greenroom.yml"

_MARK: Final = "# Written by `greenroom init --workflow` ({digest}); init leaves it alone if you change it."
_MARKED: Final = re.compile(r"# Written by `greenroom init --workflow` \((\w+)\)")

_FALLBACK: Final = "3.13"
"""The Python of a project that does not say which it wants."""

_GROUPS: Final = ("dev", "test", "tests", "testing")
"""Names of groups of dependencies that a suite may need."""

_ACTIONS: Final = {
    "checkout": "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "setup-python": "actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0",
    "upload-artifact": "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a # v7.0.1",
}
"""As this repository's own workflows have them; a test says so when they no longer agree."""

_TEMPLATE: Final = """\
name: greenroom

on:
  push:
    branches: [{branch}]
  pull_request:

permissions: {{}}

concurrency:
  group: ${{{{ github.workflow }}}}-${{{{ github.ref }}}}
  cancel-in-progress: ${{{{ github.event_name == 'pull_request' }}}}

defaults:
  run:
    shell: bash # with -o pipefail, unlike the default
{inside}
jobs:
  tests:
    name: Tests
    runs-on: ubuntu-24.04
    timeout-minutes: 15
    permissions:
      contents: read # to check out the repository
    env:
      GREENROOM_ENGINE: embedded
    steps:
      - name: Check out
        uses: {checkout}
        with:
          persist-credentials: false

      - name: Set up Python
        uses: {setup_python}
        with:
          {python}

      - name: Install the project
        run: |
{install}

      - name: Run the suite
        run: {runs}greenroom ci

      - name: Show the summary
        if: ${{{{ !cancelled() }}}}
        run: if [ -f reports/summary.md ]; then cat reports/summary.md >>"$GITHUB_STEP_SUMMARY"; fi

      - name: Keep the reports
        if: ${{{{ !cancelled() }}}}
        uses: {upload_artifact}
        with:
          name: reports
          path: {reports}
          if-no-files-found: ignore # a run that never started has none
          retention-days: 14
"""


def is_ours(path: Path) -> bool:
    """Whether init has written a file, and nobody has changed it since."""
    if not path.is_file():
        return False
    mark, _newline, body = path.read_text(encoding="utf-8").partition("\n")
    found = _MARKED.match(mark)
    return found is not None and found[1] == digest(body)


def files(repository: Repository, project: Path, packages: Packages) -> dict[Path, str]:
    """The workflow, by its path; nothing if it is as it should be, or somebody else's.

    Args:
        repository: The checkout.
        project: The project's folder.
        packages: How the project gets its packages.
    """
    path = repository.root / NAME
    body = _body(repository, project, packages)
    content = f"{_MARK.format(digest=digest(body))}\n{body}"
    if path.is_file() and (not is_ours(path) or path.read_text(encoding="utf-8") == content):
        return {}
    return {path: content}


def _body(repository: Repository, project: Path, packages: Packages) -> str:
    folder = project.relative_to(repository.root).as_posix()
    inside = "" if folder == "." else f"    working-directory: {folder}\n"
    steps = _installing(repository, project, packages)
    return _TEMPLATE.format(
        branch=_branch(repository.root),
        inside=inside,
        checkout=_ACTIONS["checkout"],
        setup_python=_ACTIONS["setup-python"],
        upload_artifact=_ACTIONS["upload-artifact"],
        python=_python(repository, project),
        install="\n".join(f"          {step}" for step in steps),
        runs=packages.runs,
        reports="reports/" if folder == "." else f"{folder}/reports/",
    )


def _branch(root: Path) -> str:
    """The branch that a remote calls its own, or else the one that is checked out."""
    for words in (["--short", "refs/remotes/origin/HEAD"], ["--short", "HEAD"]):
        try:
            done = subprocess.run(
                ["git", "symbolic-ref", "--quiet", *words],
                cwd=root,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            break
        if done.returncode == 0:
            return done.stdout.strip().removeprefix("origin/")
    return "main"


def _python(repository: Repository, project: Path) -> str:
    """What `setup-python` is told: the project's own file, or the oldest version that the project supports."""
    for folder in dict.fromkeys([project, repository.root]):
        if (folder / ".python-version").is_file():
            named = (folder / ".python-version").relative_to(repository.root).as_posix()
            return f"python-version-file: {named}"
    table = repository.toml(project / "pyproject.toml")
    poetry = table.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python", "")
    wanted = re.search(
        r"(?:>=|==|~=|\^|~)\s*(3\.\d+)", str(table.get("project", {}).get("requires-python", poetry))
    )
    version = wanted[1] if wanted and int(wanted[1][2:]) >= 11 else _FALLBACK
    return f'python-version: "{version}"'


def _installing(repository: Repository, project: Path, packages: Packages) -> list[str]:
    """The commands that install the project with what its suite needs, from its lock if it has one."""
    table = repository.toml(project / "pyproject.toml")
    extras = [name for name in _GROUPS if name in table.get("project", {}).get("optional-dependencies", {})]
    match packages.manager:
        case "uv":
            groups = [name for name in _GROUPS[1:] if name in table.get("dependency-groups", {})]
            more = [*(f"--extra {name}" for name in extras), *(f"--group {name}" for name in groups)]
            return ["python -m pip install uv", " ".join(["uv sync", "--locked", *more])]
        case "poetry":
            own = table.get("tool", {}).get("poetry", {}).get("group", {})
            optional = [name for name in _GROUPS if own.get(name, {}).get("optional")]
            more = [f"--with {','.join(optional)}"] if optional else []
            more += [f"--extras {name}" for name in extras]
            return ["python -m pip install poetry", " ".join(["poetry install", *more])]
        case "pdm":
            return [
                "python -m pip install pdm",
                " ".join(["pdm sync", *(f"--group {name}" for name in extras)]),
            ]
        case "pipenv":
            return ["python -m pip install pipenv", "pipenv sync --dev"]
        case "hatch":
            return ["python -m pip install hatch"]
    return _by_pip(table, project, extras)


def _by_pip(table: dict[str, Any], project: Path, extras: list[str]) -> list[str]:
    """By pip: the project itself if it can be installed, and each requirements file that a suite needs."""
    steps = []
    names = "|".join(_GROUPS)
    wanted = re.compile(
        rf"requirements(?:[-_./]?(?:{names}|development|base|app))?\.txt|(?:{names})[-_]requirements\.txt"
    )
    found = [*project.glob("*.txt"), *project.glob("requirements/*.txt")]
    for path in sorted(found, key=lambda each: (len(each.name), each.name)):
        name = path.relative_to(project).as_posix()
        if wanted.fullmatch(name):
            hashed = "--require-hashes" if "--hash=" in path.read_text(encoding="utf-8") else ""
            # A lock needs no resolving, and pip up to 24.0 refuses one with an extra in it as soon as there is a newer release.
            steps.append(
                " ".join(filter(None, ["python -m pip install", hashed and "--no-deps", hashed, "-r", name]))
            )
    if "build-system" in table and "project" in table:
        named = f"[{','.join(extras)}]" if extras else ""
        steps.append(f"python -m pip install -e '.{named}'" if named else "python -m pip install -e .")
    return steps or ["python -m pip install 'greenroom[ci,embedded]'"]
