"""scripts/lint, scripts/lock --check and .ci/run: which checks there are, and that their exit codes are honest."""

from __future__ import annotations

import pytest

from tests.scripts.conftest import Checkout

CHECKS = [
    "ruff check",
    "ruff format",
    "mypy",
    "imports",
    "shellcheck",
    "shfmt",
    "Makefile",
    "zizmor",
    "workflow schemas",
    "workflow steps",
    "hadolint",
    "compose",
    "requirements/dev.txt",
    "locks are not resolved",
    "no registry host",
]

PROJECT = """\
[project]
requires-python = ">=3.11"
dependencies = [
    "alpha>=1",
]

[dependency-groups]
dev = ["beta>=2"]

[tool.ruff]
line-length = 110
"""


@pytest.fixture
def project(checkout: Checkout) -> Checkout:
    """A checkout with the scripts, where every tool of the lint is content."""
    checkout.copy("Makefile", "scripts/lint", "scripts/lock", "scripts/_lib.sh", ".ci/run", ".bake.toml")
    checkout.write("pyproject.toml", PROJECT)
    header = f"# pyproject.toml: {digest(checkout)}\n"
    for lock in (
        "requirements/dev.txt",
        "requirements/app.txt",
        "requirements/docs.txt",
        "requirements/bench.txt",
        "requirements/contract.txt",
        "requirements/lab-story.txt",
        "requirements/lab-today.txt",
        "requirements/oldest.txt",
    ):
        checkout.write(lock, header)
    for tool in (
        "ruff",
        "mypy",
        "lint-imports",
        "shellcheck",
        "shfmt",
        "mbake",
        "zizmor",
        "check-jsonschema",
        "hadolint",
    ):
        checkout.program(checkout.root / ".venv/bin" / tool, f'echo "{tool} $*" >>"$log"\n')
    checkout.program(checkout.root / "scripts/check-steps.py", 'echo "check-steps.py $*" >>"$log"\n')
    return checkout


def digest(checkout: Checkout) -> str:
    """What the lock's header has to name, as the complaint about an empty one says it."""
    checkout.write("requirements/dev.txt", "")
    said = checkout.run("scripts/lock", "--check").stdout
    return said.partition("digest of the dependency tables: ")[2].partition(".")[0]


def announced(output: str) -> list[str]:
    """The headings in the output."""
    return [line.removeprefix("▶ ") for line in output.splitlines() if line.startswith("▶ ")]


class TestLint:
    """`make lint`."""

    def test_everything_passes(self, project: Checkout) -> None:
        """Each check is announced; when all pass, so does the lint."""
        result = project.run("scripts/lint")
        assert result.returncode == 0, result.stdout
        assert announced(result.stdout) == CHECKS

    @pytest.mark.parametrize(
        ("tool", "failed"),
        [
            ("mypy", ["mypy"]),
            ("lint-imports", ["imports"]),
            ("ruff", ["ruff check", "ruff format"]),
            ("mbake", ["Makefile"]),
            ("zizmor", ["zizmor"]),
            ("check-jsonschema", ["workflow schemas"]),
            ("hadolint", ["hadolint"]),
        ],
    )
    def test_one_fails(self, project: Checkout, tool: str, failed: list[str]) -> None:
        """When one fails, the others run all the same, and the end names it."""
        project.program(project.root / ".venv/bin" / tool, "exit 1\n")
        result = project.run("scripts/lint")
        assert result.returncode == 1
        assert announced(result.stdout) == CHECKS
        lines = result.stdout.splitlines()
        assert [line for line in lines if line.startswith("lint: failed")] == [
            f"lint: failed: {name}" for name in failed
        ]

    def test_compose(self, project: Checkout) -> None:
        """Compose reads each stack where it is installed; one that it cannot read fails the lint."""
        assert "skipped: no docker compose here" in project.run("scripts/lint").stdout
        project.calls()
        project.program(
            project.tools / "docker", 'echo "$*" >>"$log"\ncase "$*" in *app.yaml*) exit 1 ;; esac\n'
        )
        result = project.run("scripts/lint")
        assert [call for call in project.calls() if call.startswith("compose --file")] == [
            "compose --file compose/test.yaml config --quiet",
            "compose --file compose/test.yaml --file compose/ci.yaml config --quiet",
            "compose --file compose/app.yaml config --quiet",
        ]
        assert "lint: failed: compose" in result.stdout

    def test_registry_host(self, project: Checkout) -> None:
        """A file that names the host of a package registry fails, and is named with its line."""
        project.write("docs/guide.md", "one\nsee https://" + "py" + "pi.org/simple\n")
        result = project.run("scripts/lint")
        assert result.returncode == 1
        assert "docs/guide.md:2:" in result.stdout

    @pytest.mark.parametrize("path", ["scripts/more", "docs/guide.md", ".github/workflows/more.yml"])
    def test_lock_that_is_resolved(self, project: Checkout, path: str) -> None:
        """A lock that is installed without --no-deps, here or in what others are told to do, fails with its line."""
        project.write(
            path,
            "#!/bin/sh\npip install --no-deps --require-hashes -r a.txt\npip install \\\n  --require-hashes -r b.txt\n",
        )
        result = project.run("scripts/lint")
        assert result.returncode == 1
        assert f"{path}:4:" in result.stdout
        assert f"{path}:2:" not in result.stdout
        assert "lint: failed: locks are not resolved" in result.stdout

    def test_undefined_variable(self, project: Checkout) -> None:
        """A variable that the Makefile does not define is found by make itself."""
        makefile = (project.root / "Makefile").read_text()
        project.write("Makefile", makefile.replace("\tscripts/lint\n", "\tscripts/lint $(nobody)\n"))
        result = project.run("scripts/lint")
        assert "lint: failed: Makefile" in result.stdout

    def test_on_github(self, project: Checkout) -> None:
        """On GitHub the log folds, and ruff marks the lines in the pull request."""
        result = project.run("scripts/lint", GITHUB_ACTIONS="true")
        assert "::group::mypy" in result.stdout
        assert "ruff check --output-format=github ." in project.calls()

    def test_under_make_with_jobs(self, project: Checkout) -> None:
        """The options and variables of the make around it do not reach the make inside."""
        project.program(project.root / "scripts/bootstrap", "")
        result = project.run("make", "-j2", "lint", "T=x")
        assert result.returncode == 0, result.stdout


class TestLock:
    """`scripts/lock --check`, without network."""

    @pytest.mark.parametrize(
        ("old", "new"), [("110", "100"), ("[project]\n", '[project]\nkeywords = ["x"]\n# why\n')]
    )
    def test_still_fresh(self, project: Checkout, old: str, new: str) -> None:
        """What does not decide about dependencies does not make the lock stale."""
        project.write("pyproject.toml", PROJECT.replace(old, new))
        assert project.run("scripts/lock", "--check").returncode == 0

    @pytest.mark.parametrize(
        ("old", "new"), [("alpha>=1", "alpha>=2"), ("beta>=2", "beta>=3"), ("3.11", "3.12")]
    )
    def test_stale(self, project: Checkout, old: str, new: str) -> None:
        """Another dependency makes it stale; the message names the digests and the command."""
        project.write("pyproject.toml", PROJECT.replace(old, new))
        result = project.run("scripts/lock", "--check")
        assert result.returncode == 1
        assert "make lock" in result.stdout


class TestCi:
    """.ci/run, with a stand-in for make."""

    WHOLE = (
        *("test-up", "test", "lint", "ci-test", "test-contract", "test-down"),
        *("offline-images", "images"),
        *("test-up", "test", "test-down", "ci-test"),
        *("bench", "test-toolkit", "test-oldest", "test-down"),
    )

    @pytest.mark.parametrize(
        ("failing", "ran", "code"),
        [
            ("nothing", WHOLE, 0),
            ("lint", WHOLE, 1),
            ("test-up", ("test-up", "test-down"), 2),
            ("test", WHOLE, 1),
            ("ci-test", WHOLE, 1),
            ("test-contract", WHOLE, 1),
            ("offline-images", (*WHOLE[:7], "test-down"), 2),
            ("test-toolkit", WHOLE, 1),
            ("test-oldest", WHOLE, 1),
            ("test-down", WHOLE, 1),
            ("years-on", WHOLE, 1),
        ],
    )
    def test_exit_code(self, project: Checkout, failing: str, ran: tuple[str, ...], code: int) -> None:
        """A failure of any step is the run's; the others run where they can, and all is stopped at the end."""
        project.program(project.tools / "make", f'echo "$1" >>"$log"\n[ "$1" != {failing} ] || exit 2\n')
        project.program(project.root / ".ci/docker", "")
        project.program(project.root / "scripts/years-on", f"[ {failing} != years-on ] || exit 1\n")
        project.program(project.tools / "cc", "")
        result = project.run(".ci/run")
        assert tuple(project.calls()) == ran
        steps = [line.removeprefix("newcomer ") for line in announced(result.stdout)]
        assert [step.split()[1] for step in steps if step.startswith("make ")] == list(ran)
        assert result.returncode == code
