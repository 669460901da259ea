"""The small runner of Actions that test_workflows.py trusts: its expressions, conditions, variables and artifacts."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.actions import Job, Runner
from tests.scripts.expressions import Invalid, Outputs, condition, evaluate, filled

CONTEXTS: dict[str, Any] = {
    "matrix": {"shard": "1/2", "empty": "", "python-version": "3.11"},
    "strategy": {"job-index": 0},
    "needs": {"a": {"result": "success"}, "b": {"result": "failure"}},
    "steps": {"image": {"outputs": Outputs(name="x:1")}},
}

HEAD = """\
name: Example
on:
  workflow_call:
    inputs:
      word: {type: string, default: hello}
defaults:
  run:
    shell: bash
jobs:
"""


def after(succeeded: bool) -> dict[str, Callable[[], bool]]:
    """The functions that know how it went until now."""
    return {
        "success": lambda: succeeded,
        "failure": lambda: not succeeded,
        "cancelled": lambda: False,
        "always": lambda: True,
    }


class TestExpressions:
    """What stands in `${{ }}`."""

    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("matrix.shard", "1/2"),
            ("matrix['python-version']", "3.11"),
            ("'it''s'", "it's"),
            ("strategy.job-index == 0", True),
            ("strategy.job-index == 0 && 'first' || 'later'", "first"),
            ("matrix.empty && 'set' || 'not set'", "not set"),
            ("!(matrix.shard != '1/2')", True),
            ("'DOCKER' == 'docker'", True),
            ("'' == 0", True),
            ("'x' == 0", False),
            ("needs.a.result", "success"),
            ("join(needs.*.result, ' ')", "success failure"),
            ("format('shard {0} of {1}', matrix.shard, 2)", "shard 1/2 of 2"),
            ('fromJSON(\'["1/2", "2/2"]\')', ["1/2", "2/2"]),
            ("steps.image.outputs.name", "x:1"),
            ("steps.image.outputs.nothing", ""),
        ],
    )
    def test_value(self, expression: str, value: object) -> None:
        """An expression has the value that it has on GitHub."""
        assert evaluate(expression, CONTEXTS) == value

    @pytest.mark.parametrize(
        ("expression", "reason"),
        [
            ("matrix.shards", "nothing defines matrix.shards"),
            ("steps.images.outputs.name", "nothing defines steps.images"),
            ("secrets.TOKEN", "'secrets' in 'secrets.TOKEN' is no context"),
            ("hashFiles('x')", "is no function"),
            ("matrix.shard matrix.empty", "is too much"),
            ("(matrix.shard", "')' is missing"),
            ("matrix.shard ==", "ends too early"),
            ("matrix.shard ? 1 : 2", "cannot read"),
        ],
    )
    def test_wrong(self, expression: str, reason: str) -> None:
        """A wrong name or form is an error, and not silently empty."""
        with pytest.raises(Invalid, match=reason.replace("(", r"\(").replace(")", r"\)")):
            evaluate(expression, CONTEXTS)

    def test_filled(self) -> None:
        """One expression alone keeps its type; in a longer text it becomes text; lists and tables are filled inside."""
        value = {"a": "${{ strategy.job-index }}", "b": ["n${{ strategy.job-index }}", 3], "c": True}
        assert filled(value, CONTEXTS) == {"a": 0, "b": ["n0", 3], "c": True}

    @pytest.mark.parametrize(
        ("source", "after_success", "after_failure"),
        [
            ("matrix.shard == '1/2'", True, False),
            ("${{ matrix.shard == '1/2' }}", True, False),
            ("matrix.shard == '2/2'", False, False),
            ("always()", True, True),
            ("${{ !cancelled() }}", True, True),
            ("failure()", False, True),
            ("always() && matrix.empty", False, False),
        ],
    )
    def test_condition(self, source: str, after_success: bool, after_failure: bool) -> None:
        """A condition that does not ask for the status holds only after success."""
        for succeeded, holds in ((True, after_success), (False, after_failure)):
            assert condition(source, CONTEXTS, after(succeeded)) is holds


class TestRunner:
    """Jobs and their steps."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """An empty folder for workflows."""
        (tmp_path / "workflows").mkdir()
        return tmp_path

    def run(self, folder: Path, jobs: str, job: str = "it", **options: Any) -> list[Job]:
        """Run a job of a workflow with these jobs."""
        (folder / "workflows/example.yml").write_text(HEAD + textwrap.indent(textwrap.dedent(jobs), "  "))

        def checkout(into: Path) -> None:
            (into / "inner").mkdir()
            (into / "inner/file").write_text("content\n")

        runner = Runner(folder / "workflows", folder / f"run of {job}", checkout, {"PATH": "/usr/bin:/bin"})
        return runner.run("example.yml", job, **options)

    def test_variables_and_outputs(self, folder: Path) -> None:
        """A step finds the variables of its job, its own, and what earlier steps wrote for later ones."""
        (job,) = self.run(
            folder,
            """
            it:
              name: it
              timeout-minutes: 1
              env: {WHERE: job, WORD: "${{ inputs.word }}"}
              steps:
                - name: write
                  id: first
                  run: |
                    echo "out=$WORD $WHERE" >>"$GITHUB_OUTPUT"
                    echo LATER=yes >>"$GITHUB_ENV"
                    mkdir "$RUNNER_TEMP/bin"
                    echo "$RUNNER_TEMP/bin" >>"$GITHUB_PATH"
                    echo "# summary" >>"$GITHUB_STEP_SUMMARY"
                - name: read
                  env: {WHERE: step, OUT: "${{ steps.first.outputs.out }}"}
                  run: echo "$OUT, $WHERE, ${LATER-}, ${PATH%%:*}, $CI $GITHUB_ACTIONS"
            """,
            inputs={"word": "hello"},
        )
        assert job.result == "success"
        assert "hello job, step, yes, " in job.log
        assert "/bin, true true" in job.log
        assert job.summary == "# summary\n"

    def test_failure(self, folder: Path) -> None:
        """After a failed step run only those that ask to, and the job has failed; a failure in a pipe is one."""
        (job,) = self.run(
            folder,
            """
            it:
              name: it
              timeout-minutes: 1
              steps:
                - {name: fails, run: "false | cat"}
                - {name: skipped, run: echo}
                - {name: tells, if: "!cancelled()", run: echo}
            """,
        )
        assert (job.result, job.ran) == ("failure", ["fails", "tells"])

    def test_needs(self, folder: Path) -> None:
        """A job is skipped when what it needs failed, unless it asks to run always; and results are visible to it."""
        jobs = """
            it:
              name: it
              needs: [other]
              timeout-minutes: 1
              steps: [{name: a, run: echo}]
            gate:
              name: gate
              if: always()
              needs: [other]
              timeout-minutes: 1
              steps: [{name: a, env: {R: "${{ needs.other.result }}"}, run: echo "got $R"}]
            """
        (skipped,) = self.run(folder, jobs, needs={"other": "failure"})
        assert (skipped.result, skipped.ran) == ("skipped", [])
        (gate,) = self.run(folder, jobs, "gate", needs={"other": "failure"})
        assert "got failure" in gate.log

    def test_matrix_and_call(self, folder: Path) -> None:
        """A called workflow runs once for each leg of its matrix, with the caller's inputs."""
        (folder / "workflows/called.yml").write_text(
            HEAD
            + textwrap.indent(
                textwrap.dedent("""
                its:
                  name: ${{ matrix.n }}
                  timeout-minutes: 1
                  strategy: {matrix: {n: "${{ fromJSON('[1, 2]') }}"}}
                  steps: [{name: a, env: {W: "${{ inputs.word }}"}, run: echo "got $W"}]
                """),
                "  ",
            )
        )
        jobs = self.run(
            folder,
            """
            it:
              name: it
              strategy: {matrix: {w: [one, two]}}
              uses: $/.github/workflows/called.yml
              with: {word: "${{ matrix.w }}"}
            """,
            matrix={"w": "two"},
        )
        assert [job.name for job in jobs] == ["1", "2"]
        assert all("got two" in job.log for job in jobs)

    def test_artifacts(self, folder: Path) -> None:
        """What is uploaded can be downloaded, but what is hidden is not uploaded; nothing is no artifact."""
        (job,) = self.run(
            folder,
            """
            it:
              name: it
              timeout-minutes: 1
              steps:
                - {name: check out, uses: actions/checkout@x}
                - {name: hide, run: touch inner/.hidden}
                - {name: up, uses: actions/upload-artifact@x, with: {name: a-0, path: inner/}}
                - {name: up again, uses: actions/upload-artifact@x, with: {name: a-1, path: inner/}}
                - name: nothing
                  uses: actions/upload-artifact@x
                  with: {name: a-2, path: nowhere/, if-no-files-found: ignore}
                - name: down
                  uses: actions/download-artifact@x
                  with: {pattern: "a-*", path: there}
                - {name: list, run: cd there && find . -type f | sort}
            """,
        )
        assert job.log.split("▶ list\n")[1].split() == ["./a-0/file", "./a-1/file"]

    @pytest.mark.parametrize(
        ("step", "reason"),
        [
            ("{name: a, run: echo, continue-on-error: true}", "has continue-on-error"),
            ("{name: a, run: echo, shell: pwsh}", "runs in 'pwsh'"),
            ("{name: a, uses: someone/something@x}", "uses someone/something"),
            ("{name: a, uses: actions/checkout@x, with: {refs: main}}", "actions/checkout has refs"),
        ],
    )
    def test_unknown(self, folder: Path, step: str, reason: str) -> None:
        """What the runner does not know is an error, and is not passed over."""
        with pytest.raises(Invalid, match=reason):
            self.run(folder, f"it: {{name: it, timeout-minutes: 1, steps: [{step}]}}\n")
