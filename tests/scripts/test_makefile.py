"""The Makefile: its help, and which command each target runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time

import pytest

from tests.scripts.conftest import HERE, Checkout

MAKEFILE = (HERE / "Makefile").read_text()

PHONY = {target for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for target in line.split()}
TARGETS = PHONY - {"$(venv)"}
"""What a person can ask for."""

TIERS = ("test", "test-unit", "test-integration", "test-api", "test-toolkit")


@pytest.fixture
def project(checkout: Checkout) -> Checkout:
    """A checkout with the Makefile, where every program it calls writes down its name and arguments."""
    checkout.copy("Makefile")
    call = """
printf '%s' "${0##*/}" >>"$log"
printf '|%s' "$@" "engine=${GREENROOM_ENGINE-unset}" >>"$log"
echo >>"$log"
"""
    for name in ("bootstrap", "lint", "format", "docs", "lock"):
        checkout.program(checkout.root / "scripts" / name, call)
    for name in ("pytest", "greenroom", "python"):
        checkout.program(checkout.root / ".venv/bin" / name, call)
    return checkout


def recipe(project: Checkout, *arguments: str) -> str:
    """The last command that make would run, split into words and put together again with single spaces."""
    result = project.run("make", "-n", *arguments)
    assert result.returncode == 0, result.stdout
    return shlex.join(shlex.split(result.stdout.splitlines()[-1]))


def calls(project: Checkout, *arguments: str, **variables: str) -> list[list[str]]:
    """Run make, and return what it called, with the arguments as they arrived; but not the bootstrap."""
    result = project.run("make", *arguments, **variables)
    assert result.returncode == 0, result.stdout
    words = [line.split("|") for line in project.calls()]
    return [call for call in words if call[0] != "bootstrap"]


class TestHelp:
    """The list of targets."""

    def test_is_the_default(self, project: Checkout) -> None:
        """`make` alone prints the help."""
        assert project.run("make").stdout == project.run("make", "help").stdout

    def test_lists_every_target(self, project: Checkout) -> None:
        """Each target has its line, with what it does."""
        listed = re.findall(r"^  ([a-z-]+) +\S", project.run("make", "help").stdout, re.MULTILINE)
        assert sorted(listed) == sorted(TARGETS)

    def test_every_rule_is_phony(self) -> None:
        """No file of the same name can keep a target from running."""
        rules = set(re.findall(r"^([a-z$()-]+):(?!=)", MAKEFILE, re.MULTILINE))
        assert rules == PHONY

    def test_no_colour_in_a_file(self, project: Checkout) -> None:
        """What is not a terminal gets no colour."""
        assert "\033" not in project.run("make", "help").stdout

    @pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
    def test_colour_on_a_terminal(self, project: Checkout, no_color: str, coloured: bool) -> None:
        """A terminal gets colour, unless NO_COLOR says no."""
        ours, theirs = os.openpty()
        subprocess.run(
            ["make", "help"],
            cwd=project.root,
            env=project.environment(NO_COLOR=no_color),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            timeout=60,
            check=True,
        )
        os.close(theirs)
        said = os.read(ours, 100_000)
        os.close(ours)
        assert (b"\033[" in said) is coloured


class TestTests:
    """The test targets."""

    @pytest.mark.parametrize(
        ("target", "command"),
        [
            ("test", ".venv/bin/greenroom test -- --cov=app -n auto"),
            ("test-unit", ".venv/bin/greenroom test -- tests/unit --no-cov"),
            ("test-integration", ".venv/bin/greenroom test -- tests/integration --no-cov"),
            ("test-api", ".venv/bin/greenroom test -- tests/api --no-cov"),
            (
                "test-toolkit",
                ".venv/bin/pytest tests/greenroom tests/scripts tests/lab tests/docker offline -n auto --dist=loadgroup --no-cov",
            ),
            ("test-contract", "scripts/contract"),
            ("test-oldest", "scripts/versions oldest"),
            ("test-newest", "scripts/versions newest"),
            ("ci-test", ".venv/bin/greenroom ci -- --cov=app -n auto"),
        ],
    )
    def test_command(self, project: Checkout, target: str, command: str) -> None:
        """Each tier runs its folder; only the suite of the reference service is measured."""
        assert recipe(project, target) == command

    @pytest.mark.parametrize("target", TIERS)
    def test_narrowed(self, project: Checkout, target: str) -> None:
        """T narrows each of them to one test, without coverage and without workers."""
        command = recipe(project, target, "T=tests/api/test_x.py::test_y")
        runner = "pytest" if target == "test-toolkit" else "greenroom test --"
        assert command == f".venv/bin/{runner} tests/api/test_x.py::test_y -n 0 --no-cov"

    @pytest.mark.parametrize(
        "name", ["test_x[a b]", "test_x[it's]", 'test_x["$HOME"]', "test_x[$(echo)`a`]", r"test_x[\n]"]
    )
    def test_narrowed_to_an_odd_name(self, project: Checkout, name: str) -> None:
        """T arrives at pytest as it was typed, whatever is in it."""
        assert calls(project, "test", f"T={name}") == [
            ["greenroom", "test", "--", name, "-n", "0", "--no-cov", "engine=unset"]
        ]

    def test_further_arguments(self, project: Checkout) -> None:
        """PYTEST_ARGS goes to pytest as the shell splits it."""
        (call,) = calls(project, "test-unit", "PYTEST_ARGS=-x -k 'login or logout'")
        assert call == [
            *("greenroom", "test", "--", "tests/unit", "--no-cov"),
            *("-x", "-k", "login or logout", "engine=unset"),
        ]

    def test_shard(self, project: Checkout) -> None:
        """SHARD makes ci-test run a part, and arrives as it was typed."""
        assert (
            recipe(project, "ci-test", "SHARD=2/4")
            == ".venv/bin/greenroom ci --shard 2/4 -- --cov=app -n auto"
        )
        (call,) = calls(project, "ci-test", "SHARD=2 of 4")
        assert call[:4] == ["greenroom", "ci", "--shard", "2 of 4"]

    def test_images(self, project: Checkout) -> None:
        """IMAGES=offline names the stand-ins; another prefix is taken as it is, and none is none."""
        project.program(project.root / ".venv/bin/greenroom", 'printf \'%s\' "$IMAGES" >"$log"\n')
        for typed, taken in [
            ("offline", "greenroom-offline/"),
            ("mirror.example/", "mirror.example/"),
            ("", ""),
        ]:
            for arguments, variables in ([f"IMAGES={typed}"], {}), ([], {"IMAGES": typed}):
                assert project.run("make", "images", *arguments, **variables).returncode == 0
                assert project.calls() == ([taken] if taken else [])

    def test_engine(self, project: Checkout) -> None:
        """ENGINE is passed on through the environment."""
        assert calls(project, "test-up", "ENGINE=embedded") == [["greenroom", "up", "engine=embedded"]]
        assert calls(project, "test-up", ENGINE="external") == [["greenroom", "up", "engine=external"]]

    def test_engine_of_greenroom_itself(self, project: Checkout) -> None:
        """Without ENGINE, what the environment says to greenroom itself stays."""
        assert calls(project, "test-down", GREENROOM_ENGINE="auto") == [["greenroom", "down", "engine=auto"]]

    @pytest.mark.parametrize(
        ("target", "command"),
        [
            ("test-up", "up"),
            ("test-status", "status"),
            ("test-logs", "logs"),
            ("test-down", "down"),
            ("ci-report", "report"),
            ("migrate", "migrate"),
            ("images", "images"),
            ("up", "app up"),
            ("down", "app down"),
            ("logs", "app logs"),
            ("ps", "app ps"),
            ("shell", "app shell"),
            ("db-shell", "app psql"),
        ],
    )
    def test_verbs(self, project: Checkout, target: str, command: str) -> None:
        """The verbs of the test environment are greenroom's."""
        assert recipe(project, target) == f".venv/bin/greenroom {command}"

    @pytest.mark.parametrize("target", sorted(TARGETS - {"help", "clean", "lock"}))
    def test_bootstrap_first(self, project: Checkout, target: str) -> None:
        """What needs Python lets the bootstrap look first."""
        result = project.run("make", "-n", target, "m=x")
        assert result.stdout.splitlines()[0] == "scripts/bootstrap"

    @pytest.mark.parametrize("target", ["test", "ci-test", "test-up", "test-down"])
    def test_terminated(self, project: Checkout, target: str) -> None:
        """SIGTERM to make alone arrives at greenroom: no shell stands between the two."""
        project.program(
            project.root / ".venv/bin/greenroom",
            'trap \'echo told >>"$log"; exit 3\' TERM\necho began >>"$log"\nwhile :; do sleep 0.1; done\n',
        )
        with subprocess.Popen(
            ["make", target, "PYTEST_ARGS=-k 'a or b'"], cwd=project.root, env=project.environment()
        ) as make:
            end = time.monotonic() + 30
            while "began" not in project.log.read_text():
                assert time.monotonic() < end
                time.sleep(0.02)
            make.terminate()
            assert make.wait(30) != 0
        assert project.calls()[-1] == "told"

    def test_bootstrap_fails(self, project: Checkout) -> None:
        """Without a whole .venv nothing is run."""
        project.program(project.root / "scripts/bootstrap", "exit 1\n")
        assert project.run("make", "test").returncode == 2
        assert project.calls() == []


class TestMigration:
    """`make migration`."""

    def test_message(self, project: Checkout) -> None:
        """The message arrives at Alembic as it was typed."""
        (call,) = calls(project, "migration", 'm=it\'s "a" table for $5')
        assert call[:3] == ["greenroom", "exec", "--"]
        assert call[-4:-1] == ["--autogenerate", "-m", 'it\'s "a" table for $5']

    @pytest.mark.parametrize("message", [[], ["m="], ["m=  "]])
    def test_no_message(self, project: Checkout, message: list[str]) -> None:
        """Without a message it says how to give one, and makes nothing."""
        result = project.run("make", "migration", *message)
        assert result.returncode == 2
        assert 'Usage: make migration m="add a table"' in result.stdout
        assert [call for call in project.calls() if call.startswith("greenroom")] == []


class TestClean:
    """`make clean`."""

    def test_nothing_there(self, project: Checkout) -> None:
        """It removes what there is, and needs nothing to be there."""
        project.write("app/__pycache__/x.pyc", "")
        project.write("reports/coverage.xml", "")
        for _ in range(2):
            assert project.run("make", "clean").returncode == 0
        assert sorted(path.name for path in project.root.iterdir()) == ["Makefile", "app", "scripts"]
        assert list((project.root / "app").iterdir()) == []

    def test_stops_first(self, project: Checkout) -> None:
        """The test environment goes down before the program that can stop it is removed."""
        project.write(".venv/.bootstrapped", "")
        assert calls(project, "clean")[-1][:2] == ["greenroom", "down"]
        assert not (project.root / ".venv").exists()

    def test_stop_fails(self, project: Checkout) -> None:
        """When it does not go down, the program that can stop it stays."""
        project.write(".venv/.bootstrapped", "")
        project.program(project.root / ".venv/bin/greenroom", "exit 1\n")
        assert project.run("make", "clean").returncode == 2
        assert (project.root / ".venv").exists()

    def test_broken_venv(self, project: Checkout) -> None:
        """A .venv whose interpreter vanished can stop nothing, and is removed."""
        project.write(".venv/.bootstrapped", "")
        (project.root / ".venv/bin/python").unlink()
        assert project.run("make", "clean").returncode == 0
        assert not (project.root / ".venv").exists()
