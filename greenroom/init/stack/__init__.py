"""The test stack for a project: this repository's own Compose files, and a Dockerfile that installs the project's packages."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from greenroom.docker.images import CI_FILE, TEST_FILE
from greenroom.errors import ConfigError
from greenroom.init.installing import installing, python_version

if TYPE_CHECKING:
    from pathlib import Path

    from greenroom.init.packages import Packages
    from greenroom.init.repository import Repository

_FOLDER: Final = "compose"

_IGNORED: Final = """\
# What never gets into a layer: secrets, caches, environments, reports.
**/.env
**/.env.*
!**/.env.example
**/.git
**/.venv
**/venv
**/node_modules
**/__pycache__
**/*.pyc
.greenroom
reports
"""

_SOURCES: Final = "PYTHONPATH: ${GREENROOM_FOLDER:-/src}"
"""The line of test.yaml that says where the sources are imported from."""


def files(repository: Repository, project: Path, packages: Packages) -> dict[Path, str]:
    """The files of the stack, by their paths.

    Args:
        repository: The checkout.
        project: The project's folder.
        packages: How the project gets its packages.

    Raises:
        ConfigError: An image cannot be made from the project's folder alone.
    """
    test = _own("test.yaml")
    if (project / "src").is_dir():
        assert _SOURCES in test
        test = test.replace(_SOURCES, f"{_SOURCES}:${{GREENROOM_FOLDER:-/src}}/src")
    return {
        project / TEST_FILE: test,
        project / CI_FILE: _own("ci.yaml"),
        project / _FOLDER / "postgres.yaml": _own("postgres.yaml"),
        project / _FOLDER / "Dockerfile": _dockerfile(repository, project, packages),
        project / _FOLDER / "Dockerfile.dockerignore": _IGNORED,
        # In the place of a secret that is not given.
        project / _FOLDER / "nothing": "",
    }


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _dockerfile(repository: Repository, project: Path, packages: Packages) -> str:
    found = installing(repository, project, packages, itself=False)
    missing = [name for name in found.inputs if not (project / name).is_file()]
    if missing or not found.inputs or not found.steps:
        raise ConfigError(
            f"An image for the tests is made from the project's folder, and {', '.join(missing) or 'a lock'} is not in {project}.",
            hint="write compose/Dockerfile by hand: docs/docker.md says what greenroom expects of it",
        )
    steps = found.steps
    tools = ""
    if found.manager:
        # Apart from the project's packages, which its own may not fit.
        tools = " && python -m venv /opt/tools"
        manager = found.manager.rpartition(" ")[2]
        steps = [
            f"/opt/tools/bin/python -m pip install {manager}",
            *(f"/opt/tools/bin/{step}" for step in steps),
        ]
    return (
        _own("Dockerfile.in")
        .replace("@python@", python_version(repository, project)[0])
        .replace("@tools@", tools)
        .replace("@inputs@", " ".join(found.inputs))
        .replace("@steps@", "".join(f" \\\n    && {step}" for step in steps))
    )
