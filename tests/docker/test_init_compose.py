"""`greenroom init --compose` in a project that is not this one: the stack that it writes runs the project's tests."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.docker.conftest import HERE, docker
from tests.docker.stacks import Copy

pytestmark = pytest.mark.docker

NEEDED = ("fastapi", "asyncpg", "httpx2", "greenroom[ci]")
"""What the project depends on."""

SHOP = HERE / "tests/greenroom/projects/shop"

TESTS = """
def test_create(client, session):
    assert client.post("/customers/Ada").json() == {"id": 1}
    assert session.connection().exec_driver_sql("SELECT name FROM customers").scalar() == "Ada"


def test_empty(client):
    assert client.get("/customers").json() == []
"""


def locked(folder: Path) -> str:
    """A lock of the project, from this checkout's: with hashes, and greenroom as a wheel that is made in a folder."""
    found: dict[str, None] = {}
    waiting = [Requirement(each) for each in NEEDED]
    while waiting:
        wanted = waiting.pop()
        for each in importlib.metadata.requires(wanted.name) or []:
            inner = Requirement(each)
            extras = ["", *wanted.extras]
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                known = re.sub(r"[-_.]+", "-", inner.name).lower()
                if known not in found or inner.extras:
                    found[known] = None
                    waiting.append(inner)
    lock = (HERE / "requirements/dev.txt").read_text()
    names = {"fastapi", "asyncpg", "httpx2", *found} - {"greenroom"}
    pins = [
        pin
        for pin in re.findall(r"(?m)^[\w.-]+(?:\[[\w,-]+\])?==(?:.*\\\n)*.*\n", lock)
        if re.split(r"[\[=]", pin)[0] in names
    ]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, HERE],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("greenroom-*.whl")
    hashed = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{''.join(pins)}./{wheel.name} --hash=sha256:{hashed}\n"


@pytest.fixture
def shop(tmp_path: Path, images: str) -> Copy:
    """A project with a lock for pip, and nothing of this checkout."""
    root = tmp_path / "shop"
    copy = Copy(root, images)
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(SHOP, root, dirs_exist_ok=True)
    copy.write("requirements.txt", locked(root))
    copy.write("tests/test_it.py", TESTS)
    return copy


def test_stack(shop: Copy) -> None:
    """The tests run in the stack that init has written, and in CI's, from the project's own lock."""
    shop.done("init", "--yes", "--no-add", "--no-try", "--compose")
    # No index has greenroom, so its wheel goes into the image with the lock.
    (wheel,) = shop.root.glob("greenroom-*.whl")
    shop.edit("compose/Dockerfile", "COPY requirements.txt ./", f"COPY requirements.txt {wheel.name} ./")
    try:
        code, said = shop.run("test", "--", "-q", "tests/test_it.py")
        assert code == 0, said
        assert "engine docker" in said
        assert "2 passed" in said
        code, said = shop.run("ci", "--", "tests/test_it.py")
        assert code == 0, said
        assert (shop.root / "reports/junit.xml").is_file()
        assert "was changed since" in shop.done("init", "--yes", "--no-add", "--no-try")
    finally:
        shop.run("down")
        image = shop.run("images", "--tag")[1].strip()
        docker("image", "rm", image)
