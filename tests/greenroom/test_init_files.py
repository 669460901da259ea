"""What `greenroom init --workflow` and `--compose` write: valid, as this repository's own, and the project's to change."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.greenroom.conftest import ROOT, Project
from tests.greenroom.test_init import bare, service

__all__ = ["bare"]

NAME = ".github/workflows/greenroom.yml"

TOOLS = Path(sys.executable).parent


def written(project: Project, *arguments: str) -> str:
    """Have init write the workflow. Returns it, once the linters of workflows have accepted it."""
    done = project.command("init", "--yes", "--no-add", "--no-try", "--workflow", *arguments)
    assert done.returncode == 0, done.stderr
    path = project.root / NAME
    for tool in (
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--pedantic", "--quiet"],
    ):
        checked = subprocess.run(
            [TOOLS / tool[0], *tool[1:], path], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
    return path.read_text()


MANAGERS = pytest.mark.parametrize(
    ("files", "steps", "runs", "image"),
    [
        (
            {
                "uv.lock": "",
                "pyproject.toml": '[project]\nname = "shop"\n[project.optional-dependencies]\ntest = []\n[dependency-groups]\ndev = []',
                ".python-version": "3.12\n",
            },
            [
                "python-version-file: .python-version",
                "python -m pip install uv",
                "uv sync --locked --extra test",
            ],
            "uv run ",
            [
                "COPY pyproject.toml uv.lock ./",
                "&& /opt/tools/bin/uv sync --locked --extra test --no-install-project",
            ],
        ),
        (
            {
                "poetry.lock": "",
                "pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.12"\n[tool.poetry.group.test]\noptional = true',
            },
            ['python-version: "3.12"', "python -m pip install poetry", "poetry install --with test"],
            "poetry run ",
            ["COPY pyproject.toml poetry.lock ./", "&& /opt/tools/bin/poetry install --with test --no-root"],
        ),
        (
            {"pdm.lock": "", "pyproject.toml": '[project]\nname = "shop"\nrequires-python = ">=3.14"'},
            ['python-version: "3.14"', "python -m pip install pdm", "pdm sync"],
            "pdm run ",
            ["COPY pyproject.toml pdm.lock ./", "&& /opt/tools/bin/pdm sync --no-self"],
        ),
        (
            {
                "requirements.txt": "fastapi\n",
                "requirements-dev.txt": "pytest==9 --hash=sha256:0\n",
                "requirements-docs.txt": "sphinx\n",
            },
            [
                'python-version: "3.13"',
                "python -m pip install -r requirements.txt",
                "python -m pip install --no-deps --require-hashes -r requirements-dev.txt",
            ],
            "",
            [
                "COPY requirements.txt requirements-dev.txt ./",
                "&& python -m pip install -r requirements.txt \\",
                "&& python -m pip install --no-deps --require-hashes -r requirements-dev.txt",
            ],
        ),
        (
            {
                "pyproject.toml": '[build-system]\nrequires = []\n[project]\nname = "shop"\nrequires-python = ">=3.9"\n'
                "[project.optional-dependencies]\ndev = []"
            },
            ['python-version: "3.13"', "python -m pip install -e '.[dev]'"],
            "",
            ["COPY pyproject.toml ./", "&& python -m pip install -r /tmp/requirements.txt"],
        ),
    ],
)


@MANAGERS
def test_package_managers(
    bare: Project, files: dict[str, str], steps: list[str], runs: str, image: list[str]
) -> None:
    """The project is installed by its own package manager, from its lock, and the suite runs as it does on a machine."""
    service(bare)
    for name, content in files.items():
        bare.write(name, content)
    text = written(bare)
    lines = [line.strip() for line in text.splitlines()]
    for step in steps:
        assert step in lines
    installs = [line for line in lines if re.match(r"(python -m pip|uv|poetry|pdm) (install|sync)", line)]
    assert installs == steps[1:]
    assert f"run: {runs}greenroom ci" in lines


@MANAGERS
def test_dockerfile(
    bare: Project, files: dict[str, str], steps: list[str], runs: str, image: list[str]
) -> None:
    """The image has what the project depends on, by its own package manager, and the linter of Dockerfiles accepts it."""
    service(bare)
    for name, content in files.items():
        bare.write(name, content)
    done = bare.command("init", "--yes", "--no-add", "--no-try", "--compose")
    assert done.returncode == 0, done.stderr
    path = bare.root / "compose/Dockerfile"
    lines = [line.strip() for line in path.read_text().splitlines()]
    for line in image:
        assert line in lines
    version = steps[0].partition('"')[2].rstrip('"') or "3.12"
    assert f"ARG PYTHON_VERSION={version}" in lines
    checked = subprocess.run([TOOLS / "hadolint", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_stack_of_a_project_in_src(bare: Project) -> None:
    """The stack is this repository's own; sources in src/ are found, and no secret that is not given is anything but empty."""
    service(bare, "src/")
    bare.write("requirements.txt", "fastapi\n")
    bare.write("pyproject.toml", '[project]\nname = "shop"\n')
    assert bare.command("init", "--yes", "--no-add", "--no-try", "--compose").returncode == 0
    for name in ("postgres.yaml", "ci.yaml", "test.yaml"):
        mark, _newline, body = (bare.root / "compose" / name).read_text().partition("\n")
        assert mark.startswith("# Written by `greenroom init --compose` (")
        assert body.replace(":${GREENROOM_FOLDER:-/src}/src", "") == (ROOT / "compose" / name).read_text()
    assert (
        "PYTHONPATH: ${GREENROOM_FOLDER:-/src}:${GREENROOM_FOLDER:-/src}/src"
        in (bare.root / "compose/test.yaml").read_text()
    )
    assert (bare.root / "compose/nothing").read_bytes() == b""
    assert bare.command("init", "--check", "--no-try").returncode == 0


def test_no_stack_without_a_lock(bare: Project) -> None:
    """Where the lock is not in the project's folder, no image can be made from it, and init says what to do."""
    service(bare, "backend/")
    bare.write("uv.lock", "")
    bare.write("backend/pyproject.toml", '[project]\nname = "shop"\n')
    done = bare.command("-C", "backend", "init", "--yes", "--no-add", "--no-try", "--compose")
    assert done.returncode == 2
    assert "uv.lock is not in" in done.stderr
    assert "write compose/Dockerfile by hand" in done.stderr


def test_a_project_in_a_folder(bare: Project) -> None:
    """The workflow stands at the top of the repository, runs in the project's folder, and for the branch that is there."""
    subprocess.run(["git", "init", "-q", "-b", "trunk", bare.root], check=True)
    service(bare, "backend/")
    bare.write("backend/requirements.txt", "fastapi\n")
    text = written(bare)
    assert "working-directory: backend" in text
    assert "path: backend/reports/" in text
    assert "branches: [trunk]" in text


def test_what_somebody_has_changed_stays(bare: Project) -> None:
    """Init writes no workflow unasked, keeps its own up to date, and leaves one alone that somebody has written or changed."""
    service(bare)
    bare.write("requirements.txt", "fastapi\n")
    init = ("init", "--yes", "--no-add", "--no-try")
    bare.command(*init)
    assert not (bare.root / NAME).exists()
    first = written(bare)
    assert bare.command(*init, "--check").returncode == 0
    bare.write(".python-version", "3.12\n")
    done = bare.command("init", "--check", "--no-try")
    assert done.returncode == 1
    assert "+          python-version-file: .python-version" in done.stdout
    bare.command(*init)
    assert (bare.root / NAME).read_text() != first
    bare.replace(NAME, "timeout-minutes: 15", "timeout-minutes: 5")
    changed = (bare.root / NAME).read_text()
    done = bare.command(*init, "--workflow")
    assert done.returncode == 0
    assert f"{NAME} is not init's, or was changed since: it stays as it is" in done.stderr
    assert (bare.root / NAME).read_text() == changed


def test_the_reports_extra(bare: Project) -> None:
    """The suite runs with reports, so a project that has greenroom without them is told what to add."""
    service(bare)
    bare.write("requirements.txt", "greenroom[embedded]\n")
    assert "greenroom is not among" not in bare.command("init", "--yes", "--no-try").stderr
    done = bare.command("init", "--yes", "--no-try", "--workflow")
    assert "pip install 'greenroom[ci,embedded]'" in done.stderr


def test_actions_are_those_of_this_repository(bare: Project) -> None:
    """The actions are pinned to the commits that this repository's own workflows have, which are kept up to date."""
    service(bare)
    ours = "\n".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    uses = re.findall(r"uses: (.+)", written(bare))
    assert len(uses) == 3
    for each in uses:
        assert f"uses: {each}\n" in ours
