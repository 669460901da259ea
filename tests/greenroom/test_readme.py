"""What the README says is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_example(tmp_path: Path, clean_environment: None) -> None:
    """The example test passes, in both orders."""
    match = re.search(
        r"<!-- tests/greenroom/test_readme.py runs this block -->\n```python\n(.*?)```", README, re.DOTALL
    )
    assert match is not None
    example = tmp_path / "test_example.py"
    example.write_text(match[1])
    names = [f"{example}::test_create_provider", f"{example}::test_over_http"]
    for order in (names, names[::-1]):
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-c",
            ROOT / "pyproject.toml",
            "--rootdir",
            ROOT,
        ]
        command += ["-p", "no:randomly", "-p", "no:cacheprovider", *order]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
        assert done.returncode == 0, done.stdout
        assert "2 passed" in done.stdout


def test_table_of_commands() -> None:
    """Each target that the README names is in `make help`, and the other way round.

    But one: offline-images is for those who reach no registry, and docs/docker.md leads them to it.
    """
    listed = subprocess.run(["make", "help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    targets = set(re.findall(r"^  ([a-z-]+) ", listed, re.MULTILINE)) - {"help", "offline-images"}
    table = README.split("## Commands")[1].split("## ")[0]
    named = set(re.findall(r"`(?:make )?([a-z-]+)(?: m=[^`]*)?`", table)) - {"help"}
    assert named == targets


def test_two_commands_in_a_fresh_clone(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fresh clone, the README's two commands do everything, and `make test-down` leaves nothing."""
    for name in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON"):
        monkeypatch.delenv(name, raising=False)
    # As on a fresh machine, without Docker; tests/docker has the other ones.
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    commands = re.findall(r"^\$ (.*)$", README, re.MULTILINE)
    assert commands == ["make test-up", "make test"]
    clone = tmp_path / "clone of it"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    # What is not yet committed belongs to what is tested.
    changed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for path in filter(None, changed.split("\0")):
        if (ROOT / path).is_file():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_bytes((ROOT / path).read_bytes())
            (clone / path).chmod((ROOT / path).stat().st_mode)
    said = ""
    for command in [*commands, "make test-down"]:
        done = subprocess.run(
            command, shell=True, cwd=clone, capture_output=True, text=True, check=False, timeout=1200
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        said += done.stdout + done.stderr
    promised = re.findall(r"^((?:bootstrap|greenroom): [a-z ]+|Required.*)", README, re.MULTILINE)
    assert len(promised) > 6
    for line in promised:
        assert line.strip() in said, line
    assert list(runtime.iterdir()) == []
