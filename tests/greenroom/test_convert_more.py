"""What `greenroom convert` does beside converting: the project's formatters, pytest's settings, and --verify."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from greenroom.convert.checking.comparing import differences
from tests.greenroom import forked
from tests.greenroom.conftest import Project, runs

pytest.importorskip("libcst")


def converted(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Convert the project's tests, which works."""
    result = project.command("convert", *arguments)
    assert result.returncode == 0, result.stderr
    return result


class TestFormatting:
    """Files that the project's formatters had formatted."""

    CLEAN = """
        import pytest
        from sqlalchemy.ext.asyncio import AsyncSession


        @pytest.mark.asyncio
        async def test_answer(async_session: AsyncSession) -> None:
            found = await answer(
                async_session, "one argument of many", "another one of as many"
            )
            assert found == 42


        async def answer(session: AsyncSession, one: str, two: str) -> int:
            return 42
    """
    """As ruff and black have it, in 73 columns."""

    AFTER = """
        from greenroom.typing import Run
        from sqlalchemy.ext.asyncio import AsyncSession


        def test_answer(async_session: AsyncSession, run: Run) -> None:
            found = run(
                answer(
                    async_session,
                    "one argument of many",
                    "another one of as many",
                )
            )
            assert found == 42
    """

    @pytest.fixture
    def ruff(self, project: Project) -> Project:
        """A project that is configured for ruff."""
        project.replace("pyproject.toml", "[tool.pytest", "[tool.ruff]\nline-length = 73\n\n[tool.pytest")
        return project

    def stand_in(self, folder: Path, name: str, code: str) -> None:
        """A formatter on the path."""
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!{sys.executable}\nimport sys, time\n{textwrap.dedent(code)}")
        (folder / name).chmod(0o755)

    def clean(self, project: Project) -> bool:
        """Whether ruff would change nothing in the tests."""
        commands = (["check", "--select", "I", "tests"], ["format", "--check", "tests"])
        runs = [
            subprocess.run(
                [shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff", *each],
                cwd=project.root, capture_output=True, text=True, timeout=60, check=False,
            )
            for each in commands
        ]  # fmt: skip
        return all(each.returncode == 0 for each in runs)

    def test_clean_stays_clean(self, ruff: Project) -> None:
        """A file that ruff would not change is one afterwards, and a second call changes nothing."""
        file = ruff.write("tests/test_it.py", self.CLEAN)
        assert self.clean(ruff)
        converted(ruff, "tests")
        text = file.read_text()
        assert text.startswith(textwrap.dedent(self.AFTER).lstrip())
        assert self.clean(ruff)
        assert "nothing to convert" in converted(ruff, "tests").stderr
        assert file.read_text() == text

    def test_diff_shows_it(self, ruff: Project) -> None:
        """--diff prints the text as it would be formatted, and writes nothing."""
        file = ruff.write("tests/test_it.py", self.CLEAN)
        before = file.read_bytes()
        result = converted(ruff, "--diff", "tests")
        assert '+            "another one of as many",\n' in result.stdout
        assert file.read_bytes() == before

    def test_unformatted_is_left_alone(self, ruff: Project) -> None:
        """A file that ruff would have changed keeps its author's format."""
        file = ruff.write("tests/test_it.py", self.CLEAN.replace("== 42", "== (42)").replace('"', "'"))
        converted(ruff, "tests")
        assert "'one argument of many', 'another one of as many'\n" in file.read_text()

    def test_each_step_by_itself(self, ruff: Project) -> None:
        """Code is formatted also where the imports were not sorted, and these stay as they are."""
        file = ruff.write(
            "tests/test_it.py", "import sys\nimport abc\n" + textwrap.dedent(self.CLEAN).lstrip()
        )
        converted(ruff, "tests")
        text = file.read_text()
        assert text.startswith("import sys\nimport abc\n")
        assert '            "another one of as many",\n' in text

    def test_excluded(self, ruff: Project) -> None:
        """A file that ruff's settings exclude is none of its files."""
        ruff.replace("pyproject.toml", "[tool.ruff]\n", '[tool.ruff]\nextend-exclude = ["tests"]\n')
        file = ruff.write("tests/test_it.py", self.CLEAN)
        converted(ruff, "tests")
        assert '"one argument of many", "another one of as many"\n' in file.read_text()

    def test_windows_lines(self, ruff: Project) -> None:
        """The ends of lines stay what they are."""
        file = ruff.write("tests/test_it.py", "")
        file.write_bytes(textwrap.dedent(self.CLEAN).lstrip().replace("\n", "\r\n").encode())
        converted(ruff, "tests")
        assert b'            "another one of as many",\r\n' in file.read_bytes()
        assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")

    def test_not_the_projects(self, project: Project) -> None:
        """A formatter that is installed but not the project's does nothing."""
        file = project.write("tests/test_it.py", self.CLEAN)
        converted(project, "tests")
        assert '"one argument of many", "another one of as many"\n' in file.read_text()

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            (".ruff.toml", ""),
            (".pre-commit-config.yaml", "repos:\n- repo: local\n  hooks:\n  - id: ruff-format\n"),
            ("requirements-dev.txt", "pytest\nruff==0.14.1\n"),
        ],
    )
    def test_where_it_is_named(self, project: Project, path: str, text: str) -> None:
        """Ruff is the project's by its own file, a hook of pre-commit, or a dependency."""
        project.write(path, text)
        file = project.write("tests/test_it.py", self.CLEAN.replace("as many", "as many, to be wide"))
        converted(project, "tests")
        assert "    found = run(\n        answer(\n" in file.read_text()

    def test_fails(self, ruff: Project) -> None:
        """Where ruff fails, the text is as greenroom wrote it, and that is said once."""
        ruff.replace("pyproject.toml", "line-length = 73", "line-length = 'wide'")
        for name in ("one", "two"):
            ruff.write(f"tests/test_{name}.py", self.CLEAN)
        said = converted(ruff, "tests").stderr
        assert said.count("note: ruff, which formats the project, fails: ") == 1
        assert (
            "def test_answer(async_session: AsyncSession, run: Run)"
            in (ruff.root / "tests/test_one.py").read_text()
        )

    def test_takes_too_long(self, ruff: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """A formatter that does not end is given up, and that is said once."""
        monkeypatch.setattr(importlib.import_module("greenroom.convert.writing.formatting"), "_SECONDS", 0)
        for name in ("one", "two"):
            ruff.write(f"tests/test_{name}.py", self.CLEAN)
        said = converted(ruff, "tests").stderr
        assert said.count("note: ruff, which formats the project, was not done within 0 s; ") == 1
        assert "\ndef test_answer(" in (ruff.root / "tests/test_two.py").read_text()

    def test_black_and_isort(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """Black and isort format where they are the project's: isort first."""
        project.replace("pyproject.toml", "[tool.pytest", "[tool.black]\n\n[tool.isort]\n\n[tool.pytest")
        for name in ("black", "isort"):
            code = f"""
                text = sys.stdin.read()
                assert any(each.endswith("tests/test_it.py") for each in sys.argv)
                sys.stdout.write(text if "async def test" in text else text + "# {name}\\n")
            """
            self.stand_in(project.root / "bin", name, code)
        monkeypatch.setenv("PATH", f"{project.root / 'bin'}{os.pathsep}{os.environ['PATH']}")
        file = project.write("tests/test_it.py", self.CLEAN)
        converted(project, "tests")
        assert file.read_text().endswith("    return 42\n# isort\n# black\n")

    def test_not_installed(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """A formatter of the project's that is not there is named."""
        project.replace("pyproject.toml", "[tool.pytest", "[tool.black]\n\n[tool.pytest")
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        project.write("tests/test_it.py", self.CLEAN)
        said = converted(project, "tests").stderr
        assert (
            "note: the project formats with black, which is not installed here; "
            "look at the format of what was converted (pyproject.toml)\n"
        ) in said


class TestSettings:
    """Settings and packages that only asynchronous tests need."""

    SUITE = """
        import pytest


        @pytest.mark.asyncio
        async def test_answer():
            assert await answer() == 42


        async def answer():
            return 42
    """

    STAYS = """
        import unittest


        class TestOld(unittest.IsolatedAsyncioTestCase):
            async def test_old(self):
                assert True
    """

    def after(self, project: Project, path: str, text: str, *arguments: str) -> str:
        """What a file of settings is after the suite is converted."""
        file = project.root / path
        file.write_bytes(text.encode())
        project.write("tests/test_it.py", self.SUITE)
        converted(project, *arguments or ("tests",))
        assert "def test_answer(run):" in (project.root / "tests/test_it.py").read_text()
        text = file.read_bytes().decode()
        assert "nothing to convert" in converted(project, *arguments or ("tests",)).stderr
        assert file.read_bytes().decode() == text
        return text

    def test_pyproject(self, project: Project) -> None:
        """The lines of pyproject.toml go, and the options; its tables, comments and other settings stay."""
        table = '[tool.greenroom]\napp = "shop.main:app"\nmetadata = "shop.models:metadata"\n\n'
        before = (
            table
            + """\
[tool.pytest.ini_options]
# How tests run.
asyncio_mode = "auto"  # all of them
"asyncio_default_fixture_loop_scope" = 'session'
markers = [
    '''slow: it takes long
asyncio_mode = "auto"
''',
]
addopts = [
    "-ra",  # a summary
    "-p", "asyncio",  # first
    "--asyncio-mode=auto",
    "--strict-markers", "-o", "asyncio_mode=auto"
]

[tool.other]
asyncio_mode = "auto"
"""
        )
        assert self.after(project, "pyproject.toml", before) == (
            table
            + """\
[tool.pytest.ini_options]
# How tests run.
markers = [
    '''slow: it takes long
asyncio_mode = "auto"
''',
]
addopts = [
    "-ra",  # a summary
    "--strict-markers"
]

[tool.other]
asyncio_mode = "auto"
"""
        )

    @pytest.mark.parametrize(
        ("path", "before", "after"),
        [
            pytest.param(
                "pytest.ini",
                "[pytest]\r\naddopts = -ra\r\n  --asyncio-mode auto\r\n  -p asyncio -q\r\n; why\r\n"
                "asyncio_mode = auto\r\nxfail_strict: true\r\n",
                "[pytest]\r\naddopts = -ra\r\n  -q\r\n; why\r\nxfail_strict: true\r\n",
                id="lines-of-windows",
            ),
            pytest.param(
                "setup.cfg",
                "[metadata]\nasyncio_mode = auto\n\n[tool:pytest]\naddopts =\n    -p asyncio\nasyncio_default_test_loop_scope =\n"
                "    session\n\ntestpaths = tests\n",
                "[metadata]\nasyncio_mode = auto\n\n[tool:pytest]\n\ntestpaths = tests\n",
                id="setup-cfg",
            ),
            pytest.param(
                "tox.ini",
                "[tox]\nenv_list = py\n[pytest]\nasyncio_mode = strict\naddopts = -k 'not -p asyncio' -p no:randomly\n",
                "[tox]\nenv_list = py\n[pytest]\naddopts = -k 'not -p asyncio' -p no:randomly\n",
                id="tox",
            ),
            pytest.param(
                "pytest.toml",
                '[pytest]\nanyio_mode = "auto"\naddopts = "--asyncio-mode=auto"',
                "[pytest]\n",
                id="toml-without-a-last-line",
            ),
            pytest.param(
                "tests/pytest.ini",
                "[pytest]\nasyncio_mode = auto\n",
                "[pytest]\n",
                id="in-the-folder-of-the-tests",
            ),
        ],
    )
    def test_other_files(self, project: Project, path: str, before: str, after: str) -> None:
        """The same in each file that pytest takes its settings from, also with several lines and with those of Windows."""
        (project.root / "tests").mkdir()
        assert self.after(project, path, before) == after

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("tests/test_old.py", STAYS),
            ("shop/test_more.py", "async def test_more():\n    assert True\n"),
            ("conftest.py", "import pytest\n\n\n@pytest.fixture\nasync def one():\n    return 1\n"),
            ("shop/testing.py", "import pytest_asyncio\n"),
            ("conftest.py", "pytest_plugins = ['pytest_asyncio']\n"),
        ],
    )
    def test_something_stays(self, project: Project, path: str, text: str) -> None:
        """They stay while a test or fixture of the project is asynchronous, also outside of what is converted."""
        project.write(path, text)
        ini = "[pytest]\nasyncio_mode = auto\n"
        assert self.after(project, "pytest.ini", ini) == ini

    def test_one_test_only(self, project: Project) -> None:
        """Where single tests are converted, the settings stay."""
        ini = "[pytest]\nasyncio_mode = auto\n"
        assert self.after(project, "pytest.ini", ini, "tests/test_it.py::test_answer") == ini

    def test_diff_and_check(self, project: Project) -> None:
        """--diff shows the settings that would go, and neither it nor --check writes."""
        project.write("tests/test_it.py", self.SUITE)
        ini = project.write("pytest.ini", "[pytest]\nasyncio_mode = auto\n")
        assert "--- pytest.ini\n+++ pytest.ini\n@@ -1,2 +1 @@\n [pytest]\n-asyncio_mode = auto\n" in (
            converted(project, "--diff", "tests").stdout
        )
        result = project.command("convert", "--check", "tests")
        assert result.returncode == 1
        assert "would be converted: pytest.ini" in result.stderr
        assert ini.read_text() == "[pytest]\nasyncio_mode = auto\n"

    def test_packages(self, project: Project) -> None:
        """Packages that nothing imports any more are named once; others are not."""
        project.write("requirements-dev.txt", "pytest\npytest_asyncio>=1\nasgi-lifespan==2.1\nanyio\n")
        project.write("shop/tasks.py", "import anyio\n")
        project.write("pytest.ini", "[pytest]\nrequired_plugins =\n    pytest-cov\n    pytest-asyncio>=1\n")
        project.write("tests/test_it.py", self.SUITE)
        said = converted(project, "tests").stderr
        for place in ("requirements-dev.txt", "pytest.ini"):
            note = "nothing imports pytest-asyncio or asgi-lifespan any more: remove what nothing else needs"
            assert f"note: {note} ({place})\n" in said
        assert "nothing imports" not in converted(project, "tests").stderr


class TestVerify:
    """The tests are run before and after they are converted."""

    GOOD = """
        import pytest


        @pytest.fixture(params=["asyncio"])
        def anyio_backend(request):
            return request.param


        @pytest.mark.anyio
        @pytest.mark.parametrize("b", [2, 3])
        @pytest.mark.parametrize("a", [1])
        async def test_sum(anyio_backend, a, b):
            assert await add(a, b) == a + b


        @pytest.mark.asyncio
        @pytest.mark.xfail
        async def test_wrong():
            assert await add(1, 1) == 3


        async def add(a, b):
            return a + b
    """

    BAD = """
        import inspect

        import pytest


        @pytest.mark.asyncio
        async def test_itself():
            await nothing()
            assert inspect.iscoroutinefunction(test_itself)


        @pytest.mark.asyncio
        async def test_other():
            await nothing()


        async def nothing():
            pass
    """
    """The first test passes only as long as it is asynchronous."""

    def verified(self, project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Convert and verify the project's tests."""
        return project.command("convert", "--verify", *arguments, "tests")

    def test_holds(self, project: Project) -> None:
        """Where no test is worse, the files stay converted; a test may lose anyio's backend from its name."""
        file = project.write("tests/test_it.py", self.GOOD)
        result = self.verified(project)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "before: 2 passed, 1 xfailed in " in result.stderr
        assert "after: 2 passed, 1 xfailed in " in result.stderr
        assert "verified: 3 tests, none is worse" in result.stderr
        assert result.stdout == ""
        assert "\ndef test_wrong(run):" in file.read_text()

    def test_worse(self, project: Project) -> None:
        """A test that is worse is printed with both outcomes, and all files are as they were, settings as well."""
        ini = project.write("pytest.ini", "[pytest]\nasyncio_default_test_loop_scope = function\n")
        files = [
            project.write("tests/test_it.py", self.BAD), project.write("tests/test_good.py", self.GOOD), ini,
        ]  # fmt: skip
        before = [(each.read_bytes(), each.stat().st_mtime_ns) for each in files]
        result = self.verified(project)
        assert result.returncode == 1
        assert result.stdout.startswith(
            "worse: tests/test_it.py::test_itself: passed before, failed after: assert False"
        )
        assert len(result.stdout.splitlines()) == 1
        assert "error: 1 test is worse when it is converted. Everything is as it was." in result.stderr
        assert [(each.read_bytes(), each.stat().st_mtime_ns) for each in files] == before

    def test_not_run_any_more(self, project: Project) -> None:
        """A test that is not run afterwards is worse, and so is one that is skipped."""
        project.write(
            "conftest.py",
            """
            import inspect

            import pytest


            def pytest_collection_modifyitems(items):
                items[:] = [each for each in items if each.name != "test_other" or inspect.iscoroutinefunction(each.obj)]
                for each in items:
                    if not inspect.iscoroutinefunction(each.obj):
                        each.add_marker(pytest.mark.skip("another day"))
            """,
        )
        file = project.write("tests/test_it.py", self.BAD)
        result = self.verified(project)
        assert result.returncode == 1
        assert result.stdout.splitlines() == [
            "worse: tests/test_it.py::test_itself: passed before, skipped after: another day",
            "worse: tests/test_it.py::test_other: passed before, missing after",
        ]
        assert "async def test_other" in file.read_text()

    def test_failing_before(self, project: Project) -> None:
        """A test that fails before and after is no reason to put anything back."""
        project.write("tests/test_it.py", self.BAD.replace("assert inspect", "assert not inspect"))
        result = self.verified(project)
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines() == [
            "differs: tests/test_it.py::test_itself: failed before, passed after"
        ]

    def test_coverage(self, project: Project) -> None:
        """Lines of the application that only the asynchronous tests have run are printed."""
        project.write(
            "shop/extra.py",
            "def extra(asynchronous):\n    if asynchronous:\n        return 'more'\n    return 'less'\n",
        )
        project.write(
            "tests/test_it.py",
            self.BAD.replace(
                "assert inspect.iscoroutinefunction(test_itself)",
                "extra(inspect.iscoroutinefunction(test_itself))",
            ).replace("import pytest\n", "import pytest\n        from shop.extra import extra\n"),
        )
        result = self.verified(project, "--json")
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)["verified"]
        assert found["uncovered"] == ["shop/extra.py:3: return 'more'"]
        assert found["holds"]
        assert found["differences"] == []

    def test_does_not_run(self, project: Project) -> None:
        """Where nothing passes before, nothing is converted, and pytest's own words are shown."""
        project.write("tests/conftest.py", "import nowhere\n")
        file = project.write("tests/test_it.py", self.BAD)
        result = self.verified(project)
        assert result.returncode == 2
        assert (
            "error: The tests do not run as they are, so there is nothing to compare with: pytest ended with "
            in result.stderr
        )
        assert "No module named 'nowhere'" in result.stderr
        assert "async def test_itself" in file.read_text()

    def test_takes_too_long(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run has an end, and nothing is converted if the first one does not reach its own."""
        monkeypatch.setattr(importlib.import_module("greenroom.convert.checking.verify"), "_SECONDS", 0)
        file = project.write("tests/test_it.py", self.GOOD)
        result = self.verified(project)
        assert result.returncode == 2
        assert "nothing to compare with: It was not done within 0 s." in result.stderr
        assert "async def test_sum" in file.read_text()

    def test_edited_meanwhile(self, project: Project) -> None:
        """What somebody writes while the tests run stays."""
        file = project.write(
            "tests/test_it.py",
            self.BAD.replace(
                "assert inspect.iscoroutinefunction(test_itself)",
                "if not inspect.iscoroutinefunction(test_itself):\n"
                "                open(__file__, 'a').write('# mine')\n                raise ValueError",
            ),
        )
        result = self.verified(project)
        assert result.returncode == 1
        assert f"note: {file} was changed while the tests ran, so it stays as it is now" in result.stderr
        assert file.read_text().endswith("# mine")

    def test_interrupted(self, project: Project) -> None:
        """Ctrl-C in the middle of the second run ends it, and the files are as they were."""
        file = project.write(
            "tests/test_it.py",
            self.BAD.replace(
                "assert inspect.iscoroutinefunction(test_itself)",
                "if not inspect.iscoroutinefunction(test_itself):\n"
                "                import os, pathlib, time\n"
                "                pathlib.Path('begun').write_text(str(os.getpid()))\n"
                "                time.sleep(60)",
            ),
        )
        before, begun = file.read_bytes(), project.root / "begun"
        process = subprocess.Popen(
            [*forked.command("greenroom"), "convert", "--verify", "tests"],
            cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not begun.exists() or not begun.read_text():
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert file.read_bytes() != before
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 130, output
        assert "what was converted is as it was" in output
        assert file.read_bytes() == before
        assert not runs(int(begun.read_text()))

    @pytest.mark.parametrize("option", ["--diff", "--check"])
    def test_writes(self, project: Project, option: str) -> None:
        """--verify is refused beside what writes nothing."""
        result = project.command("convert", "--verify", option)
        assert result.returncode == 2
        assert "--verify runs the converted tests, and --diff and --check write none" in result.stderr

    def test_without_greenroom(self, project: Project) -> None:
        """It needs [tool.greenroom], which says how the tests are run."""
        project.write("pyproject.toml", "[project]\nname = 'x'\n")
        file = project.write("tests/test_it.py", self.BAD)
        result = self.verified(project)
        assert result.returncode == 2
        assert "No pyproject.toml with a [tool.greenroom] table" in result.stderr
        assert "async def test_itself" in file.read_text()

    def test_nothing_to_convert(self, project: Project) -> None:
        """Where there is nothing to convert, nothing is run."""
        project.write("tests/test_it.py", "def test_it():\n    assert True\n")
        result = self.verified(project)
        assert result.returncode == 0
        assert "nothing to convert" in result.stderr
        assert "running" not in result.stderr


class TestComparing:
    """The outcomes of two runs, test by test."""

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            pytest.param({"a": "passed"}, {"a": "passed"}, [], id="the same"),
            pytest.param(
                {"a": "passed", "b": "passed"}, {"a": "passed"}, ["worse b: passed, missing"], id="missing"
            ),
            pytest.param({"a": "failed"}, {}, ["worse a: failed, missing"], id="a failure that is not run"),
            pytest.param({}, {"a": "error"}, ["worse a: missing, error"], id="a new error"),
            pytest.param({}, {"a": "passed"}, ["a: missing, passed"], id="a new test"),
            pytest.param(
                {"a": "xfailed"}, {"a": "failed"}, ["worse a: xfailed, failed"], id="an expected failure"
            ),
            pytest.param({"a": "failed"}, {"a": "error"}, ["a: failed, error"], id="no better, no worse"),
            pytest.param(
                {"b": "failed", "a": "passed"},
                {"a": "skipped", "b": "passed"},
                ["worse a: passed, skipped", "b: failed, passed"],
                id="what is worse comes first",
            ),
            pytest.param({"a[asyncio-1]": "passed"}, {"a[1]": "passed"}, [], id="a backend"),
            pytest.param(
                {"a[asyncio]": "passed"},
                {"a": "failed"},
                ["worse a[asyncio]: passed, failed"],
                id="only that",
            ),
            pytest.param({"a[x-1-asyncio]": "passed"}, {"a[1-x]": "passed"}, [], id="another order"),
            pytest.param(
                {"a[1-2]": "passed", "a[2-1]": "failed"},
                {"a[1-2]": "failed", "a[2-1]": "passed"},
                ["worse a[1-2]: passed, failed", "a[2-1]: failed, passed"],
                id="two tests that differ by the order",
            ),
            pytest.param(
                {"a[asyncio]": "passed", "a[asyncio+uvloop]": "failed"},
                {"a": "failed"},
                [],
                id="one for two backends",
            ),
        ],
    )
    def test_differences(self, before: dict[str, str], after: dict[str, str], expected: list[str]) -> None:
        """A test that has become worse is one whose outcome promises less, or that is not run."""
        found = differences(
            {each: (before[each], "") for each in before}, {each: (after[each], "") for each in after}
        )
        said = [f"{'worse ' if each.worse else ''}{each.test}: {each.before}, {each.after}" for each in found]
        assert said == expected
