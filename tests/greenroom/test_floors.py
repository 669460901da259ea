"""The oldest versions that greenroom works with: what pyproject.toml says, and what is said where something is older."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest

from greenroom import floors
from greenroom.errors import VersionError
from tests.greenroom.conftest import ROOT, Project

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pretend(folder: Path, package: str, version: str) -> None:
    """Have a version of a package in a folder, as far as its metadata goes: it is found first where that is on the path."""
    metadata = folder / f"{package.replace('-', '_')}-{version}.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def test_as_declared() -> None:
    """What is checked is what pyproject.toml asks for."""
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["ci"]]
    patterns = [re.fullmatch(r"([a-z-]+)(?:\[.*\])?>=([\d.]+)", line) for line in declared]
    found = {match[1]: match[2] for match in patterns if match is not None}
    assert len(found) == len(declared)
    assert found == {package: floor for package, (_, floor) in floors.FLOORS.items()}


def test_oldest_lock_has_the_floors() -> None:
    """What the lane `oldest` runs with are the floors themselves, and not something newer that happened to fit."""
    lock = (ROOT / "requirements/oldest.txt").read_text()
    for package, (_, floor) in floors.FLOORS.items():
        pinned = re.search(rf"^{package}==([\d.]+)", lock, re.MULTILINE)
        assert pinned is not None, package
        assert floors._release(pinned[1]) == floors._release(floor)


@pytest.mark.parametrize(
    "version", ["8.0", "8", "8.0.0", "8.0.0rc1", "8.0.1", "8.10", "10", "10.2.dev3+local"]
)
def test_new_enough(version: str) -> None:
    """A floor is met by itself, however many zeros it is written with, and by everything newer."""
    assert floors._release(version) >= floors._release("8.0")


@pytest.mark.parametrize("version", ["7.4.4", "7", "7.99"])
def test_too_old(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """What is older is named, with the floor and the command."""
    real = floors.installed
    monkeypatch.setattr(
        floors, "installed", lambda package: version if package == "pytest" else real(package)
    )
    with pytest.raises(VersionError) as caught:
        floors.check()
    assert str(caught.value) == (
        f"greenroom needs pytest 8.0 or newer. Installed: {version}.\n  → pip install -U pytest"
    )


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is not too old: junitparser is needed for `greenroom ci` only."""
    monkeypatch.setattr(floors, "FLOORS", {"no-such-package": ("no such package", "1.0")})
    assert floors.installed("no-such-package") is None
    floors.check()


def test_installed() -> None:
    """The version is read as `importlib.metadata` has it."""
    for package in floors.FLOORS:
        assert floors.installed(package) == importlib.metadata.version(package)


def test_several_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are too old are named at once, and one command renews them."""
    old = {"anyio": "3.7.1", "starlette": "0.27"}
    real = floors.installed
    monkeypatch.setattr(floors, "installed", lambda package: old.get(package) or real(package))
    with pytest.raises(VersionError) as caught:
        floors.check()
    assert str(caught.value) == (
        "greenroom needs anyio 4.0, Starlette 0.37.2 or newer. Installed: 3.7.1, 0.27.\n  → pip install -U anyio starlette"
    )


SAID = "greenroom needs Starlette 0.37.2 or newer. Installed: 0.36.3."


def test_plugin_says_so(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run with something too old ends with one sentence as a wrong call does, without a traceback."""
    pretend(tmp_path / "old", "starlette", "0.36.3")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "old"))
    project.write("tests/test_it.py", "def test_it(): pass\n")
    result = project.pytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: greenroom: {SAID}" in result.stderr.str()
    assert "  → pip install -U starlette" in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_plugin_sleeps(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A project that does not use greenroom may have what it likes."""
    pretend(tmp_path / "old", "starlette", "0.36.3")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "old"))
    pytester.makepyfile("def test_it(): pass")
    pytester.makepyprojecttoml("[tool.other]")
    assert pytester.runpytest_subprocess().ret == 0


@pytest.mark.parametrize(("command", "code"), [("status", 2), ("doctor", 1), ("up", 2)])
def test_command_line_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, code: int
) -> None:
    """So does each command that uses a project."""
    pretend(tmp_path / "old", "starlette", "0.36.3")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "old"))
    result = project.greenroom(command)
    assert result.returncode == code
    assert SAID in " ".join((result.stdout + result.stderr).split())
    assert "Traceback" not in result.stderr


def test_loop_s_thread_has_its_name(project: Project) -> None:
    """The thread of the loop is named with each version of anyio: its portals take a name since 4.10 only."""
    project.passes(
        """
        import threading

        def test_it(run):
            async def name():
                return threading.current_thread().name

            assert run(name()) == "greenroom loop"
        """
    )


def test_client_is_made_of_what_starlette_is(project: Project) -> None:
    """The client's responses are of the library that Starlette's own are of: httpx or httpx2, also where both are there."""
    project.passes(
        """
        import starlette.testclient

        def test_it(client):
            response = client.get("/teapot")
            assert response.status_code == 418
            assert isinstance(response, starlette.testclient.httpx.Response)
        """
    )


def test_client_is_not_made_of_httpx2_before_starlette_is(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A httpx2 that happens to be installed, for something else, is not what an older Starlette's client is made of."""
    if floors._release(importlib.metadata.version("starlette")) >= (1, 2):
        pytest.skip("since 1.2 Starlette takes httpx2 where it is there")
    project.write("elsewhere/httpx2.py", "raise RuntimeError('nobody needs this')\n")
    monkeypatch.setenv("PYTHONPATH", str(project.root / "elsewhere"))
    project.passes('def test_it(client):\n    assert client.get("/teapot").status_code == 418\n')
