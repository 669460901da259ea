"""A runner of GitHub Actions in small: it runs the steps of our workflows here, one after the other.

A `run:` step runs in the shell and with the files and variables that Actions gives it. Of the actions that we use, those
that move files are played (checkout, artifacts), and those that set a machine up are not: this one is set up. What a
workflow says and this module does not know is an error, and so is an input that an action does not have.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.scripts.expressions import Invalid, Outputs, condition, filled, text

JOB = {
    *(
        "name",
        "if",
        "needs",
        "runs-on",
        "timeout-minutes",
        "permissions",
        "strategy",
        "defaults",
        "env",
        "steps",
    ),
    *("uses", "with"),
}
STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell", "working-directory"}

INPUTS = {
    "actions/checkout": {"persist-credentials"},
    "actions/setup-python": {"python-version", "cache", "cache-dependency-path"},
    "actions/upload-artifact": {
        *("name", "path", "overwrite", "if-no-files-found", "retention-days"),
    },
    "actions/download-artifact": {"pattern", "path", "merge-multiple"},
    "docker/setup-buildx-action": set(),
    "docker/build-push-action": {
        *("context", "file", "target", "build-args", "tags", "load", "push", "cache-from", "cache-to"),
    },
}
"""The actions that we use, and of their inputs the ones that we set."""

OURS = ("GITHUB_", "RUNNER_", "GREENROOM_", "PYTEST_", "PYTHON", "COV_", "COVERAGE_", "DATABASE_URL", "MAKE")
"""What is around this process and not around a step."""


def environment() -> dict[str, str]:
    """The environment of a machine: this one's, without what this test run has put there."""
    around = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OURS) and name not in {"VIRTUAL_ENV", "MFLAGS", "T", "ENGINE", "SHARD"}
    }
    ours = str(Path(sys.prefix) / "bin")
    around["PATH"] = os.pathsep.join(
        folder for folder in around["PATH"].split(os.pathsep) if folder.rstrip("/") != ours
    )
    if "GREENROOM_RUNTIME_DIR" in os.environ:
        around["GREENROOM_RUNTIME_DIR"] = os.environ["GREENROOM_RUNTIME_DIR"]
    return around


def load(file: Path) -> dict[str, Any]:
    """A workflow."""
    workflow: dict[str, Any] = YAML(typ="safe", pure=True).load(file)
    return workflow


def known(given: Iterable[str], all_of_them: set[str], what: str) -> None:
    """Complain about keys that nobody has heard of."""
    if unknown := set(given) - all_of_them:
        raise Invalid(f"{what} has {', '.join(sorted(unknown))}, which this runner does not know")


@dataclass
class Job:
    """What became of a job, or of one leg of its matrix."""

    name: str
    result: str = "success"
    log: str = ""
    summary: str = ""
    ran: list[str] = field(default_factory=list)
    """The steps that were not skipped."""
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the steps that use an action, what they gave it."""


class Runner:
    """Runs jobs of the workflows in a folder, as one run of a workflow: what one uploads, another can download.

    Args:
        workflows: The folder with the workflows.
        folder: An empty folder for all that belongs to the run.
        checkout: Puts the project into an empty folder.
        variables: The environment of the machine.
    """

    def __init__(
        self,
        workflows: Path,
        folder: Path,
        checkout: Callable[[Path], None],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.workflows = workflows
        self.workspace = folder / "work" / "greenroom"
        self.artifacts = folder / "artifacts"
        self.temp = folder / "temp"
        self.checkout = checkout
        self.variables = dict(environment() if variables is None else variables)
        for made in (self.workspace, self.artifacts, self.temp):
            made.mkdir(parents=True)

    def run(
        self,
        workflow: str,
        job: str,
        *,
        matrix: Mapping[str, object] | None = None,
        inputs: Mapping[str, Any] | None = None,
        needs: Mapping[str, str] | None = None,
        instead: Mapping[str, str] | None = None,
    ) -> list[Job]:
        """Run a job, and the jobs of the workflow that it calls; one result for each leg of the matrix.

        Args:
            workflow: The workflow's file name.
            job: The job's key in it.
            matrix: Only the legs with these values.
            inputs: What a caller gives the workflow.
            needs: The results of the jobs that it needs.
            instead: Variables that the steps have instead of what the workflow says.
        """
        written = load(self.workflows / workflow)
        its = written["jobs"][job]
        known(its, JOB, f"{workflow}: {job}")
        contexts: dict[str, Any] = {
            "github": {"workflow": written["name"], "ref": "refs/heads/main"},
            "inputs": dict(inputs or {}),
            "needs": {name: {"result": result} for name, result in (needs or {}).items()},
        }
        if set(contexts["needs"]) != set(its.get("needs", [])):
            raise Invalid(
                f"{workflow}: {job} needs {its.get('needs', [])}, and was given {list(needs or {})}"
            )
        done = []
        legs = self._legs(filled(its.get("strategy", {}).get("matrix", {}), contexts))
        for index, leg in enumerate(legs):
            if any(leg[key] != value for key, value in (matrix or {}).items()):
                continue
            around = {
                **contexts,
                "matrix": leg,
                "strategy": {"job-index": index, "job-total": len(legs)},
            }
            if "uses" in its:
                done += self._call(its, around, instead)
            else:
                done.append(self._leg(written, its, around, instead or {}))
        if not done:
            raise Invalid(f"{workflow}: {job} has no leg with {matrix}")
        return done

    @staticmethod
    def _legs(matrix: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
        known(matrix, set(matrix) - {"include", "exclude"}, "matrix")
        return [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]

    def _call(
        self, job: Mapping[str, Any], contexts: Mapping[str, Any], instead: Mapping[str, str] | None
    ) -> list[Job]:
        # "$/" is this repository at the commit that runs.
        called = job["uses"].removeprefix("$/.github/workflows/")
        declared = load(self.workflows / called)
        takes = declared["on"]["workflow_call"]["inputs"]
        given = filled(job.get("with", {}), contexts)
        known(given, set(takes), f"the call of {called}")
        types: dict[str, type] = {"string": str, "number": int, "boolean": bool}
        inputs = {name: given.get(name, its["default"]) for name, its in takes.items()}
        for name, value in inputs.items():
            if not isinstance(value, types[takes[name]["type"]]):
                raise Invalid(f"{called}: {name} is {value!r}, and must be a {takes[name]['type']}")
        return [
            result
            for name in declared["jobs"]
            for result in self.run(called, name, inputs=inputs, instead=instead)
        ]

    def _leg(
        self,
        workflow: Mapping[str, Any],
        job: Mapping[str, Any],
        contexts: dict[str, Any],
        instead: Mapping[str, str],
    ) -> Job:
        done = Job(text(filled(job["name"], contexts)))
        contexts["steps"] = {step["id"]: {"outputs": Outputs()} for step in job["steps"] if "id" in step}
        functions: dict[str, Callable[..., Any]] = {
            "success": lambda: done.result == "success",
            "failure": lambda: done.result == "failure",
            "cancelled": lambda: False,
            "always": lambda: True,
        }
        needed = {
            **functions,
            "success": lambda: all(n["result"] == "success" for n in contexts["needs"].values()),
        }
        if not condition(text(job.get("if", "success()")), contexts, needed):
            done.result = "skipped"
            return done
        variables = {**self.variables, **self._variables(), **instead}
        common = {**filled(workflow.get("env", {}), contexts), **filled(job.get("env", {}), contexts)}
        defaults = {
            **filled(workflow.get("defaults", {}).get("run", {}), contexts),
            **filled(job.get("defaults", {}).get("run", {}), contexts),
        }
        minutes = filled(job["timeout-minutes"], contexts)
        for step in job["steps"]:
            known(step, STEP, f"the step {step.get('name')!r}")
            if not condition(text(step.get("if", "success()")), contexts, functions):
                continue
            done.ran.append(step["name"])
            done.log += f"▶ {step['name']}\n"
            values = {**common, **filled(step.get("env", {}), contexts)}
            around = {**variables, **{name: text(value) for name, value in values.items()}, **instead}
            if "uses" in step:
                done.given[step["name"]] = filled(step.get("with", {}), contexts)
                succeeded = self._use(step, done.given[step["name"]], variables, done)
            else:
                its = {
                    **defaults,
                    **{key: step[key] for key in ("shell", "working-directory") if key in step},
                }
                succeeded = self._shell(step, its, around, variables, contexts, done, minutes * 60)
            if not succeeded:
                done.result = "failure"
        return done

    def _variables(self) -> dict[str, str]:
        return {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_REPOSITORY": "example/greenroom",
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_EVENT_NAME": "push",
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_OS": "Linux" if sys.platform == "linux" else "macOS",
        }

    def _shell(
        self,
        step: Mapping[str, Any],
        defaults: Mapping[str, Any],
        around: dict[str, str],
        variables: dict[str, str],
        contexts: dict[str, Any],
        done: Job,
        timeout: float,
    ) -> bool:
        if defaults.get("shell") != "bash":
            raise Invalid(f"{step['name']!r} runs in {defaults.get('shell')!r}, and this runner knows bash")
        files = {}
        for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"):
            files[name] = self.temp / name.lower()
            files[name].write_text("")
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        ran = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.workspace / defaults.get("working-directory", "."),
            env={**around, **{name: str(file) for name, file in files.items()}},
            stdin=subprocess.DEVNULL,
            # Apart, as Actions reads them: in one stream, a command such as ::error could stand behind a test's dot.
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        done.log += ran.stdout + ran.stderr
        done.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        if "id" in step:
            contexts["steps"][step["id"]]["outputs"].update(self._assignments(files["GITHUB_OUTPUT"]))
        variables.update(self._assignments(files["GITHUB_ENV"]))
        for folder in files["GITHUB_PATH"].read_text().splitlines():
            variables["PATH"] = f"{folder}{os.pathsep}{variables['PATH']}"
        return ran.returncode == 0

    @staticmethod
    def _assignments(file: Path) -> dict[str, str]:
        lines = file.read_text().splitlines()
        if wrong := [line for line in lines if "=" not in line]:
            raise Invalid(f"not NAME=value: {wrong[0]!r}")
        return dict(line.split("=", 1) for line in lines)

    # --- The actions ------------------------------------------------------------------------------------------

    def _use(
        self, step: Mapping[str, Any], given: Mapping[str, Any], variables: dict[str, str], done: Job
    ) -> bool:
        action = step["uses"].partition("@")[0]
        if action not in INPUTS:
            raise Invalid(f"{step['name']!r} uses {action}, which this runner does not know")
        known(given, INPUTS[action], action)
        match action:
            case "actions/checkout":
                self._check_out()
            case "actions/setup-python":
                self._set_up_python(variables)
            case "actions/upload-artifact":
                return self._upload(given, done)
            case "actions/download-artifact":
                self._download(given)
        return True

    def _check_out(self) -> None:
        """As on a machine that keeps its packages: .venv stays for the next job, and nothing else."""
        kept = self.temp / ".venv"
        if (self.workspace / ".venv").is_dir():
            (self.workspace / ".venv").rename(kept)
        shutil.rmtree(self.workspace)
        self.workspace.mkdir()
        self.checkout(self.workspace)
        if kept.is_dir():
            kept.rename(self.workspace / ".venv")

    def _set_up_python(self, variables: dict[str, str]) -> None:
        """The Python that runs this, whatever version is asked for, is the first on PATH."""
        tools = self.temp / "python"
        tools.mkdir(exist_ok=True)
        for name in ("python", "python3"):
            (tools / name).unlink(missing_ok=True)
            (tools / name).symlink_to(getattr(sys, "_base_executable", sys.executable))
        variables["PATH"] = f"{tools}{os.pathsep}{variables['PATH']}"

    def _upload(self, given: Mapping[str, Any], done: Job) -> bool:
        name, folder = given["name"], self.workspace / given["path"]
        if set(name) & set('":<>|*?\r\n\\/'):
            done.log += f"{name!r} is no name for an artifact\n"
            return False
        artifact = self.artifacts / name
        if artifact.exists():
            if not given.get("overwrite", False):
                done.log += f"there is an artifact {name!r} already\n"
                return False
            shutil.rmtree(artifact)
        # What is hidden is left out, as the action does unless it is told otherwise.
        files = [
            file
            for file in folder.rglob("*")
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        ]
        if not files:
            return bool(given.get("if-no-files-found", "warn") != "error")
        for file in files:
            target = artifact / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        return True

    def _download(self, given: Mapping[str, Any]) -> None:
        for artifact in sorted(self.artifacts.iterdir()):
            if fnmatch(artifact.name, given["pattern"]):
                into = self.workspace / given["path"]
                if not given.get("merge-multiple", False):
                    into /= artifact.name
                shutil.copytree(artifact, into, dirs_exist_ok=True)
