"""The workflows in .github: what each must have, what one part of them names of another, and the scripts in their steps.

What the steps type, `make ci-test` and the like, `.ci/run` and the other tests run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.scripts.conftest import HERE

WORKFLOWS = HERE / ".github" / "workflows"


def load(file: Path) -> dict[str, Any]:
    """A workflow."""
    workflow: dict[str, Any] = YAML(typ="safe", pure=True).load(file)
    return workflow


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

TESTS = load(WORKFLOWS / "tests.yml")["jobs"]
REUSABLE = load(WORKFLOWS / "reusable.yml")


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

    @pytest.mark.parametrize("step", STEPS)
    def test_target(self, step: dict[str, Any]) -> None:
        """What a step makes is a target of the Makefile."""
        makefile = (HERE / "Makefile").read_text().replace("$(venv)", ".venv/.bootstrapped")
        for target in re.findall(r"\bmake (\S+)", step.get("run", "")):
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target

    @pytest.mark.parametrize("job", JOBS)
    def test_after_a_failure(self, job: dict[str, Any]) -> None:
        """What tells of a run, or checks another thing, is done also where a step before it failed."""
        runs = [bool(re.match("make (test|ci-|lint)", step.get("run", ""))) for step in job.get("steps", [])]
        if True in runs and job["name"] not in ("${{ matrix.runner }}", "five years on"):
            for step in job["steps"][runs.index(True) + 1 :]:
                assert step["if"] in ("${{ !cancelled() }}", "always()"), step["name"]


class TestNames:
    """What one part of a workflow names of another: to Actions, a wrong name is an empty text."""

    @pytest.mark.parametrize("workflow", WHOLE)
    def test_contexts(self, workflow: dict[str, Any]) -> None:
        """Each input, output of a step, needed job and key of a matrix in an expression is there."""
        inputs = workflow["on"].get("workflow_call", {}).get("inputs", {})
        for name, job in workflow["jobs"].items():
            there = {
                "inputs": set(inputs),
                "matrix": set(job.get("strategy", {}).get("matrix", {})),
                "needs": {*job.get("needs", []), "*"},
                "steps": {step["id"] for step in job.get("steps", []) if "id" in step},
            }
            texts = (
                *re.findall(r"\$\{\{.*?\}\}", str(job)),
                *(str(step.get("if")) for step in job.get("steps", [])),
            )
            for text in texts:
                for context, key in re.findall(r"\b(inputs|matrix|needs|steps)\.([\w*-]+)", text):
                    assert key in there[context], f"{name}: {text}"

    @pytest.mark.parametrize("job", JOBS)
    def test_call(self, job: dict[str, Any]) -> None:
        """A job that calls a workflow gives it inputs that it has, of their types."""
        if "uses" not in job:
            return
        assert job["uses"] == "$/.github/workflows/reusable.yml"  # this repository, at the commit that runs
        inputs = REUSABLE["on"]["workflow_call"]["inputs"]
        types = {"string": str, "number": int}
        for name, value in job["with"].items():
            assert isinstance(value, types[inputs[name]["type"]]), name

    def test_gate(self) -> None:
        """The required check needs every other job, and is not skipped when one fails: that would count as passed."""
        gate = TESTS["tests"]
        assert gate["if"] == "always()"
        assert set(gate["needs"]) == set(TESTS) - {"tests"}
        assert gate["steps"][-1]["if"] == "always()"
        assert gate["steps"][-1]["env"]["RESULTS"] == "${{ join(needs.*.result, ' ') }}"

    def test_artifacts(self) -> None:
        """Each leg keeps its reports under a name of its own; the gate fetches those of the shards, and no others."""
        names = [TESTS[job]["with"]["artifact"] for job in ("docker", "embedded")]
        (upload,) = (
            step for step in REUSABLE["jobs"]["suite"]["steps"] if "upload-artifact" in step.get("uses", "")
        )
        assert upload["with"]["name"] == "${{ inputs.artifact }}-${{ strategy.job-index }}"
        assert upload["with"]["overwrite"] is True
        assert names[1].endswith("-${{ matrix.python-version }}")
        (download,) = (
            step for step in TESTS["tests"]["steps"] if "download-artifact" in step.get("uses", "")
        )
        fetched = [fnmatch(f"{name}-0", download["with"]["pattern"]) for name in (*names, "reports")]
        assert fetched == [True, False, False]

    def test_image(self) -> None:
        """The image that is built beforehand is the stack's own; one shard alone writes the cache."""
        (step,) = (
            step for step in REUSABLE["jobs"]["suite"]["steps"] if "build-push-action" in step.get("uses", "")
        )
        file = step["with"]["file"].removeprefix("${{ inputs.working-directory }}/")
        assert f" AS {step['with']['target']}\n" in (HERE / file).read_text()
        assert step["with"]["cache-to"].startswith("${{ strategy.job-index == 0 && ")


class TestScripts:
    """The steps that are more than a command, as Actions runs them."""

    @staticmethod
    def ran(jobs: dict[str, Any], job: str, name: str, folder: Path, **variables: str) -> tuple[int, str]:
        """Run the script of a step in a folder; its exit code, and what it wrote into the file that Actions gives it."""
        (step,) = (step for step in jobs[job]["steps"] if step["name"] == name)
        file = folder / "written"
        file.touch()
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "GITHUB_STEP_SUMMARY": str(file),
                "GITHUB_OUTPUT": str(file),
                **variables,
            },
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode, file.read_text()

    @pytest.mark.parametrize(
        ("results", "code"),
        [
            ("success success success", 0),
            ("failure success success", 1),
            ("success cancelled success", 1),
            ("success success skipped", 1),
        ],
    )
    def test_gate(self, tmp_path: Path, results: str, code: int) -> None:
        """The gate fails unless each job succeeded, whatever else became of it."""
        assert (
            self.ran(TESTS, "tests", "Fail unless every job succeeded", tmp_path, RESULTS=results)[0] == code
        )

    @pytest.mark.parametrize(("shard", "folder"), [("", "reports"), ("2/4", "reports/shard-2-of-4")])
    def test_summary(self, tmp_path: Path, shard: str, folder: str) -> None:
        """The summary of the shard is shown; where the run ended before there was one, that is said."""
        jobs = REUSABLE["jobs"]
        code, said = self.ran(jobs, "suite", "Show the summary", tmp_path, SHARD=shard)
        assert (code, f"No {folder}/summary.md" in said) == (0, True)
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "summary.md").write_text("It passed.")
        assert self.ran(jobs, "suite", "Show the summary", tmp_path, SHARD=shard)[1].endswith("It passed.")

    def test_merged_summary(self, tmp_path: Path) -> None:
        """The summary of all shards is shown where they were merged."""
        assert self.ran(TESTS, "tests", "Show the merged summary", tmp_path) == (0, "")
        (tmp_path / "reports").mkdir()
        (tmp_path / "reports/summary.md").write_text("All passed.")
        assert self.ran(TESTS, "tests", "Show the merged summary", tmp_path) == (0, "All passed.")

    def test_image(self, tmp_path: Path) -> None:
        """The image has a name where there is a Dockerfile; a project without one has none, and that is no failure."""
        name = "Name the test image"
        assert self.ran(REUSABLE["jobs"], "suite", name, tmp_path) == (0, "")
        (tmp_path / "compose").mkdir()
        (tmp_path / "compose/Dockerfile").touch()
        greenroom = tmp_path / ".venv/bin/greenroom"
        greenroom.parent.mkdir(parents=True)
        (tmp_path / "Makefile").write_text(".venv/.bootstrapped:\n\ttouch $@\n")
        greenroom.write_text('#!/bin/sh\necho "$*"\n')
        greenroom.chmod(0o755)
        assert self.ran(REUSABLE["jobs"], "suite", name, tmp_path) == (0, "name=images --tag\n")
        (tmp_path / "Makefile").unlink()
        (tmp_path / ".venv/.bootstrapped").unlink()
        assert self.ran(REUSABLE["jobs"], "suite", name, tmp_path)[0] != 0

    def test_laboratory(self, tmp_path: Path) -> None:
        """What is not as recorded is the summary; a run that broke off has failed, in spite of the pipe."""
        jobs = load(WORKFLOWS / "lab.yml")["jobs"]
        makefile = tmp_path / "Makefile"
        makefile.write_text('lab:\n\t@echo "lab $(ARGS)"\n')
        assert self.ran(jobs, "lab", "Run the programs", tmp_path)[0] == 0
        assert "```text\nlab --newest\n```" in self.ran(jobs, "lab", "Tell what has changed", tmp_path)[1]
        makefile.write_text("lab:\n\t@false\n")
        assert self.ran(jobs, "lab", "Run the programs", tmp_path)[0] != 0


def test_newcomer_types_what_the_readme_says() -> None:
    """The newcomer's run is the README's commands and `make test-down`: test_readme.py runs these here."""
    readme = re.findall(r"^\$ (.*)$", (HERE / "README.md").read_text(), re.MULTILINE)
    job = load(WORKFLOWS / "newcomer.yml")["jobs"]["newcomer"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [*readme, "make test-down"]


def test_documented_inputs() -> None:
    """docs/github-actions.md has each input of the reusable workflow, with its default, and no other."""
    table = re.findall(
        r"^\| `([a-z-]+)` \| (?:`(.*?)`)? *\|", (HERE / "docs/github-actions.md").read_text(), re.MULTILINE
    )
    inputs = REUSABLE["on"]["workflow_call"]["inputs"]
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
