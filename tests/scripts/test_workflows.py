"""The workflows in .github: what each must have, and their own steps, run in a clean clone as Actions would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.actions import Job, Runner, environment, load
from tests.scripts.conftest import HERE

WORKFLOWS = HERE / ".github" / "workflows"
FILES = sorted(WORKFLOWS.glob("*.yml"))
JOBS = [
    pytest.param(job, id=f"{file.name}: {name}") for file in FILES for name, job in load(file)["jobs"].items()
]
STEPS = [
    pytest.param(step, id=f"{file.name}: {name}: {step.get('name')}")
    for file in FILES
    for name, job in load(file)["jobs"].items()
    for step in job.get("steps", [])
]
WHOLE = [pytest.param(load(file), id=file.name) for file in FILES]

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"


class TestEach:
    """What holds for every workflow."""

    def test_pinned(self) -> None:
        """Every action is pinned by its full commit with the version beside it, and in one version everywhere."""
        pins = set()
        for file in FILES:
            for line in re.findall(r"^ +(?:- )?uses: +(.*)$", file.read_text(), re.MULTILINE):
                if line.startswith("$/"):
                    continue
                pin = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
                assert pin is not None, f"{file.name}: {line}"
                pins.add(pin.groups())
        assert len(pins) == len({action for action, _, _ in pins}), sorted(pins)

    @pytest.mark.parametrize("workflow", WHOLE)
    def test_permissions_start_from_nothing(self, workflow: dict[str, Any]) -> None:
        """A workflow grants nothing; its jobs ask for what they need."""
        assert workflow["permissions"] == {}

    @pytest.mark.parametrize("job", JOBS)
    def test_permissions(self, job: dict[str, Any]) -> None:
        """A job says what it may, and none may write."""
        assert set(job["permissions"].values()) <= {"read"}

    @pytest.mark.parametrize("job", JOBS)
    def test_timeout(self, job: dict[str, Any]) -> None:
        """A job ends after a time; one that calls a workflow has the time of its jobs."""
        assert ("timeout-minutes" in job) != ("uses" in job)

    @pytest.mark.parametrize("workflow", WHOLE)
    def test_concurrency(self, workflow: dict[str, Any]) -> None:
        """A new run ends the one before; a called workflow leaves that to its caller, whose run it is a part of."""
        if "workflow_call" in workflow["on"]:
            assert "concurrency" not in workflow
        else:
            assert workflow["concurrency"]["cancel-in-progress"] is True

    @pytest.mark.parametrize("workflow", WHOLE)
    def test_shell(self, workflow: dict[str, Any]) -> None:
        """The shell is named: unnamed, a failure inside a pipe would pass."""
        assert workflow["defaults"]["run"]["shell"] == "bash"

    @pytest.mark.parametrize("step", STEPS)
    def test_step(self, step: dict[str, Any]) -> None:
        """A step has a name, no expression in its script, and leaves no credentials behind."""
        assert step["name"]
        assert "${{" not in step.get("run", "")
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_newcomer_types_what_the_readme_says() -> None:
    """The newcomer's run is the README's commands and `make test-down`: test_readme.py runs these here."""
    readme = re.findall(r"^\$ (.*)$", (HERE / "README.md").read_text(), re.MULTILINE)
    (job,) = load(WORKFLOWS / "newcomer.yml")["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [*readme, "make test-down"]


def test_documented_inputs() -> None:
    """docs/github-actions.md has each input of the reusable workflow, with its default, and no other."""
    table = re.findall(
        r"^\| `([a-z-]+)` \| (?:`(.*?)`)? *\|", (HERE / "docs/github-actions.md").read_text(), re.MULTILINE
    )
    inputs = load(WORKFLOWS / "reusable.yml")["on"]["workflow_call"]["inputs"]
    assert dict(table) == {name: str(given["default"]) for name, given in inputs.items()}


def test_check_of_steps(tmp_path: Path) -> None:
    """scripts/check-steps.py shows shellcheck every script of a workflow, and names the line in the workflow."""
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    if not shutil.which("shellcheck", path=path):
        pytest.skip("shellcheck is missing")
    workflow = tmp_path / "wrong.yml"
    workflow.write_text(
        "jobs:\n  a:\n    steps:\n      - run: echo $ONE\n      - run: |\n          true\n          echo $TWO\n"
    )
    done = subprocess.run(
        [HERE / "scripts/check-steps.py", workflow],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == [
        f"{workflow}:4:6:",
        f"{workflow}:7:6:",
    ]


# --- In a folder with a Makefile that only pretends ------------------------------------------------------------------

PRETENDED = """\
ci-test:
\tmkdir -p reports/$(if $(SHARD),shard-$(subst /,-of-,$(SHARD)))
\tcd reports/$(if $(SHARD),shard-$(subst /,-of-,$(SHARD))) && echo "ran $(ENGINE) $(SHARD)" >summary.md && touch coverage.data
\ttest "$(SHARD)" != "$$FAILING"
.venv/.bootstrapped:
\tmkdir -p .venv/bin
\tprintf '#!/bin/sh\\necho greenroom-tests:0123\\n' >.venv/bin/greenroom
\tchmod +x .venv/bin/greenroom
ci-report:
\tfind reports -name coverage.data | sort >reports/summary.md
lab:
\techo "ran lab $(ARGS)"
\ttest "$$FAILING" != lab
"""


class TestReports:
    """What becomes of the reports, and of a failure."""

    @pytest.fixture
    def pretended(self, tmp_path: Path) -> Runner:
        """A run where the tests only pretend to run; the shard in FAILING fails."""

        def checkout(folder: Path) -> None:
            (folder / "Makefile").write_text(PRETENDED)

        return Runner(WORKFLOWS, tmp_path, checkout, {**environment(), "FAILING": "none"})

    def test_success(self, pretended: Runner) -> None:
        """Each shard shows its summary and keeps its reports; the gate has those of all shards."""
        shards = pretended.run("tests.yml", "docker")
        assert [job.result for job in shards] == ["success"] * 2
        assert [job.summary for job in shards] == ["ran docker 1/2\n", "ran docker 2/2\n"]
        (gate,) = pretended.run("tests.yml", "tests", needs={"docker": "success", "embedded": "success"})
        assert gate.result == "success", gate.log
        assert gate.summary.split() == [
            "reports/shard-1-of-2/coverage.data",
            "reports/shard-2-of-2/coverage.data",
        ]
        assert (pretended.artifacts / "reports/summary.md").is_file()

    def test_failure(self, pretended: Runner) -> None:
        """A shard whose tests fail has failed, shows its summary and keeps its reports all the same."""
        pretended.variables["FAILING"] = "2/2"
        passed, failed = pretended.run("tests.yml", "docker")
        assert (passed.result, failed.result) == ("success", "failure")
        assert failed.summary == "ran docker 2/2\n"
        assert (pretended.artifacts / "reports-docker-1/shard-2-of-2/coverage.data").is_file()

    def test_image(self, pretended: Runner) -> None:
        """Where there is a Dockerfile, the test image comes from the cache; one shard alone writes the cache."""
        plain = pretended.checkout

        def with_dockerfile(folder: Path) -> None:
            plain(folder)
            (folder / "compose").mkdir()
            (folder / "compose/Dockerfile").touch()

        pretended.checkout = with_dockerfile
        images = [
            job.given["Build the test image from the cache"] for job in pretended.run("tests.yml", "docker")
        ]
        assert [image["tags"] for image in images] == ["greenroom-tests:0123"] * 2
        assert [bool(image["cache-to"]) for image in images] == [True, False]
        for image in images:
            assert (HERE / image["file"]).is_file()
            assert f" AS {image['target']}\n" in (HERE / image["file"]).read_text()

    def test_run_again(self, pretended: Runner) -> None:
        """A job that is run again replaces its reports, and does not fail because there are some."""
        pretended.variables["FAILING"] = ""
        assert pretended.run("reusable.yml", "suite", inputs=self.defaults())[0].result == "failure"
        pretended.variables["FAILING"] = "none"
        assert pretended.run("reusable.yml", "suite", inputs=self.defaults())[0].result == "success"

    def test_nothing_written(self, pretended: Runner) -> None:
        """A run that ends before there are reports has failed, and its summary says that there are none."""
        pretended.checkout = lambda _: None  # no Makefile
        (job,) = pretended.run("reusable.yml", "suite", inputs=self.defaults())
        assert job.result == "failure"
        assert "the run ended before" in job.summary
        assert list(pretended.artifacts.iterdir()) == []

    @pytest.mark.parametrize("result", ["failure", "cancelled", "skipped"])
    @pytest.mark.parametrize("job", ["docker", "embedded"])
    def test_gate(self, pretended: Runner, job: str, result: str) -> None:
        """The gate fails unless both lanes succeeded, whatever else became of them, and does not hide it by a skip."""
        needs = {"docker": "success", "embedded": "success", job: result}
        (gate,) = pretended.run("tests.yml", "tests", needs=needs)
        assert gate.result == "failure"
        assert "Fail unless every job succeeded" in gate.ran

    def test_laboratory(self, pretended: Runner) -> None:
        """What the programs did with the newest versions is the summary; a run that broke off has failed, and tells nothing."""
        (job,) = pretended.run("lab.yml", "lab")
        assert job.result == "success", job.log
        assert "ran lab --newest\n" in job.summary
        pretended.variables["FAILING"] = "lab"
        (job,) = pretended.run("lab.yml", "lab")
        assert (job.result, job.summary) == ("failure", "")

    @staticmethod
    def defaults() -> dict[str, Any]:
        """The inputs of the reusable workflow where a caller gives none."""
        inputs = load(WORKFLOWS / "reusable.yml")["on"]["workflow_call"]["inputs"]
        return {name: given["default"] for name, given in inputs.items()}


# --- In a clean clone, with the real commands ------------------------------------------------------------------------


def clone(folder: Path) -> None:
    """What actions/checkout does, and over it what is not committed yet: it belongs to what is tested."""
    subprocess.run(["git", "clone", "--quiet", "--depth=1", HERE.as_uri(), folder], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z"],
        cwd=HERE, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for path in filter(None, changed.split("\0")):
        if (HERE / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / path, folder / path)
        else:
            (folder / path).unlink()


def without_docker() -> str:
    """Why the lane on Docker cannot run here; empty where it can."""
    if not os.environ.get("IMAGES"):
        return "IMAGES names no images that are here (greenroom-offline/, after make offline-images)"
    there = subprocess.run(
        ["docker", "image", "ls", "--quiet", f"{os.environ['IMAGES']}python"],
        capture_output=True, text=True, check=False,
    ) if shutil.which("docker") else None  # fmt: skip
    if there is None or there.returncode:
        return "no Docker daemon answers"
    return "" if there.stdout else f"there is no image {os.environ['IMAGES']}python"


class TestReal:
    """The steps themselves."""

    @pytest.fixture
    def runner(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
        """A run in clean clones, whose servers leave nothing behind."""
        # Short, for the path of a socket in it.
        runtime = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"gr-{os.getpid()}-workflow"
        runtime.mkdir()
        monkeypatch.setenv("GREENROOM_RUNTIME_DIR", str(runtime))
        yield Runner(WORKFLOWS, tmp_path, clone)
        left = list(runtime.iterdir())
        shutil.rmtree(runtime)
        assert left == []

    @staticmethod
    def succeeded(jobs: list[Job]) -> None:
        """Complain about the jobs that did not, with what they said."""
        for job in jobs:
            assert job.result == "success", f"{job.name}: {job.log[-5000:]}"

    def test_embedded_and_lint(self, runner: Runner) -> None:
        """The lane without Docker, for this Python, with its reports; on the same machine the lint, and a failure."""
        (job,) = jobs = runner.run("tests.yml", "embedded", matrix={"python-version": OURS})
        self.succeeded(jobs)
        assert job.ran == [
            "Check out",
            "Set up Python",
            "Run the suite",
            "Show the summary",
            "Keep the reports",
        ]
        assert "passed" in job.summary
        kept = {path.name for path in (runner.artifacts / f"reports-embedded-{OURS}-0").iterdir()}
        assert {"junit.xml", "coverage.xml", "summary.md"} <= kept
        self.succeeded(runner.run("lint.yml", "lint"))
        self.marks_a_failure(runner)

    @staticmethod
    def marks_a_failure(runner: Runner) -> None:
        """A failed test is marked at its line, named in the summary, and fails the job."""

        def checkout(folder: Path) -> None:
            clone(folder)
            (folder / "tests/unit/test_wrong.py").write_text("def test_wrong():\n    assert 1 == 2\n")

        runner.checkout = checkout
        inputs = {**TestReports.defaults(), "engine": "embedded", "pytest-args": "-k test_wrong"}
        (job,) = runner.run("reusable.yml", "suite", inputs=inputs)
        assert job.result == "failure"
        assert re.search(r"^::error file=tests/unit/test_wrong.py,line=2::", job.log, re.MULTILINE), job.log
        assert "tests/unit/test_wrong.py::test_wrong" in job.summary

    @pytest.mark.parametrize("engine", ["docker", "embedded"])
    def test_shards_and_gate(self, runner: Runner, engine: str) -> None:
        """The lane in shards, then the gate that merges them: on Docker; where that is missing, the same without it."""
        reason = without_docker()
        if engine == "docker" and reason:
            pytest.skip(reason)
        if engine == "embedded" and not reason:
            pytest.skip("it runs on Docker, as it does on GitHub")
        shards = runner.run("tests.yml", "docker", instead={} if engine == "docker" else {"ENGINE": engine})
        self.succeeded(shards)
        gates = runner.run("tests.yml", "tests", needs={"docker": "success", "embedded": "success"})
        self.succeeded(gates)
        assert "passed" in gates[0].summary
        assert (runner.artifacts / "reports/coverage.xml").is_file()
