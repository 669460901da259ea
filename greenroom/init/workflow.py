"""A workflow of GitHub Actions that runs the project's suite, on the embedded engine and with the project's own packages."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from greenroom.init.installing import installing, python_version

if TYPE_CHECKING:
    from greenroom.init.packages import Packages
    from greenroom.init.repository import Repository

NAME: Final = ".github/workflows/greenroom.yml"

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


def files(repository: Repository, project: Path, packages: Packages) -> dict[Path, str]:
    """The workflow, by its path.

    Args:
        repository: The checkout.
        project: The project's folder.
        packages: How the project gets its packages.
    """
    return {repository.root / NAME: _body(repository, project, packages)}


def _body(repository: Repository, project: Path, packages: Packages) -> str:
    folder = project.relative_to(repository.root).as_posix()
    inside = "" if folder == "." else f"    working-directory: {folder}\n"
    found = installing(repository, project, packages)
    steps = [*filter(None, [found.manager]), *found.steps]
    version, file = python_version(repository, project)
    return _TEMPLATE.format(
        branch=_branch(repository.root),
        inside=inside,
        checkout=_ACTIONS["checkout"],
        setup_python=_ACTIONS["setup-python"],
        upload_artifact=_ACTIONS["upload-artifact"],
        python=f"python-version-file: {file}" if file else f'python-version: "{version}"',
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
