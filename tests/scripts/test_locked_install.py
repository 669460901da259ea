"""A lock is installed as it is, whatever an index has by now: real pips, and an index of the test's own."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.scripts.conftest import HERE, Checkout

PIPS = {
    "22.3": "1daab4b8d3b97d1d763caeb01a4640a2250a0ea899e257b1e44b9eded91e15ab",
    "26.2": "931c303696af6fa3417112103b1cad26890e5a07eccb5b99783700e33f2b8aad",
}
"""The oldest pip that a Python from 3.11 to 3.14 brings, and the newest, by their hashes."""


def wheel(folder: Path, name: str, version: str, requires: list[str]) -> str:
    """Make a wheel that has nothing but its metadata. Returns the line of a lock that pins it."""
    stem = f"{re.sub(r'[-_.]+', '_', name)}-{version}"
    info = f"{stem}.dist-info"
    extras = sorted({extra for each in requires for extra in re.findall(r"extra == ['\"]([^'\"]+)", each)})
    files = {
        f"{info}/METADATA": "\n".join([
            "Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}",
            *(f"Provides-Extra: {extra}" for extra in extras), *(f"Requires-Dist: {each}" for each in requires), "",
        ]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }  # fmt: skip
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text.encode())}\n"
        for path, text in files.items()
    )
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name_, text)
    return f"{canonicalize_name(name)}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def asked_for_with_an_extra() -> set[str]:
    """The packages that pyproject.toml or a package of the lock asks for with an extra."""
    found = set(re.findall(r'^\s*"([\w.-]+)\[', (HERE / "pyproject.toml").read_text(), re.MULTILINE))
    for distribution in importlib.metadata.distributions():
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.extras:
                found.add(requirement.name)
    return {canonicalize_name(name) for name in found}


@pytest.fixture(scope="module")
def pips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of pip itself, from the index that this machine uses."""
    folder = tmp_path_factory.mktemp("pips")
    for version, digest in PIPS.items():
        lock = folder / f"{version}.txt"
        lock.write_text(f"pip=={version} --hash=sha256:{digest}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-d", folder, "-r", lock],
            check=True,
            timeout=120,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that this checkout's lock pins here, and a newer release of each package that is asked for with an extra.

    The wheels have the metadata of the real ones, and the lock beside them pins them.
    """
    folder = tmp_path_factory.mktemp("index")
    lock, newer = "", 0
    extras = asked_for_with_an_extra()
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.name)
        if name in ("greenroom", "pip", "setuptools"):
            continue
        lock += wheel(folder, distribution.name, distribution.version, distribution.requires or [])
        if name in extras:
            wheel(folder, distribution.name, "9999", distribution.requires or [])
            newer += 1
    assert newer >= 3
    (folder / "lock.txt").write_text(lock)
    return folder


@pytest.fixture(params=PIPS)
def bare(request: pytest.FixtureRequest, checkout: Checkout, pips: Path, index: Path) -> Iterator[Checkout]:
    """A checkout whose Python makes venvs with that pip, and whose project asks for what greenroom does."""
    checkout.copy("scripts/bootstrap", "scripts/_lib.sh")
    checkout.write("requirements/dev.txt", (index / "lock.txt").read_text())
    path = checkout.tools / "python3"
    pip = next(pips.glob(f"pip-{request.param}-*.whl"))
    checkout.program(
        path,
        f"""
lie='import sys; sys._base_executable = "{path}"'
case "$1 $2 $3" in
"-I -m venv")
    '{sys.executable}' -I -m venv --without-pip "$4"
    "$4/bin/python" -I '{pip}/pip' install --quiet --no-index --no-deps '{pip}' ;;
"-I -c "*) code=$3; shift 3; exec '{sys.executable}' -I -c "$lie
$code" "$@" ;;
*) exec '{sys.executable}' "$@" ;;
esac
""",
    )
    requires = importlib.metadata.requires("greenroom") or []
    made = checkout.root / "made"
    made.mkdir()
    wheel(made, "greenroom", "0.1.0", requires)
    (project,) = made.iterdir()
    checkout.write(
        "pyproject.toml",
        '[project]\nname = "greenroom"\nversion = "0.1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    )
    checkout.write(
        "backend.py",
        f"import shutil\n\ndef build_editable(folder, config_settings=None, metadata_directory=None):\n"
        f"    shutil.copy({str(project)!r}, folder)\n    return {project.name!r}\n\nbuild_wheel = build_editable\n",
    )
    yield checkout
    shutil.rmtree(checkout.root / ".venv", ignore_errors=True)


def versions(python: Path) -> dict[str, str]:
    """What is installed beside an interpreter."""
    code = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    said = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return {
        canonicalize_name(name): version for name, version in (line.split() for line in said.splitlines())
    }


def test_bootstrap(bare: Checkout, index: Path) -> None:
    """The first command works with an index that is newer than the lock, with the oldest and the newest pip.

    What it installs is what the lock pins.
    """
    result = bare.run("scripts/bootstrap", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
    assert result.returncode == 0, result.stdout
    found = versions(bare.root / ".venv/bin/python")
    assert found["coverage"] == importlib.metadata.version("coverage")
    assert "9999" not in found.values()


@pytest.mark.parametrize("bare", ["22.3"], indirect=True)
def test_lock_that_is_not_whole(bare: Checkout, index: Path) -> None:
    """A lock that lacks what one of its packages requires is refused by name, and .venv does not pass for whole."""
    lock = (index / "lock.txt").read_text()
    bare.write("requirements/dev.txt", re.sub(r"^iniconfig==.*\n.*\n", "", lock, flags=re.MULTILINE))
    result = bare.run("scripts/bootstrap", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
    assert result.returncode == 1
    assert "requires iniconfig, which is not installed" in result.stdout
    assert "requirements/dev.txt does not hold what its packages require" in result.stdout
    assert "make lock" in result.stdout
    assert not (bare.root / ".venv/.bootstrapped").exists()


@pytest.mark.parametrize("lacks", [False, True])
@pytest.mark.parametrize("bare", ["22.3"], indirect=True)
def test_other_environments(bare: Checkout, index: Path, *, lacks: bool) -> None:
    """The other environments are made from their locks in the same way, and one that is not whole is refused."""
    lock = (index / "lock.txt").read_text()
    bare.write(
        "requirements/docs.txt",
        re.sub(r"^iniconfig==.*\n.*\n", "", lock, flags=re.MULTILINE) if lacks else lock,
    )
    result = bare.run("scripts/bootstrap", "docs", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))
    assert result.returncode == int(lacks), result.stdout
    if lacks:
        assert "requires iniconfig, which is not installed" in result.stdout
        assert "requirements/docs.txt does not hold what its packages require" in result.stdout
    else:
        assert "9999" not in versions(bare.root / ".greenroom/docs/bin/python").values()
