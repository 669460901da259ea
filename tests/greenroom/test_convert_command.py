"""`greenroom convert` as a command: which files it takes, what it prints, its exit codes, and the files that it must not spoil."""

from __future__ import annotations

import json
import sys

import pytest

import greenroom.convert.converting  # noqa: F401 - imported once: pytester forgets what is imported within a test
from tests.greenroom.conftest import Project

BEFORE = """
    import pytest


    @pytest.mark.asyncio
    async def test_it(client):
        assert (await client.get("/greeting")).json() == "hello"
"""

AFTER = """
    def test_it(client):
        assert client.get("/greeting").json() == "hello"
"""

CONFTEST = """
    import pytest
    from httpx2 import ASGITransport, AsyncClient
    from shop.main import app


    @pytest.fixture
    async def client():
        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
            yield client
"""

TWO = """
    import asyncio

    import pytest

    pytestmark = pytest.mark.asyncio


    @pytest.fixture
    async def three():
        await asyncio.sleep(0)
        return 3


    @pytest.mark.parametrize("number", [1, 2])
    async def test_one(number):
        await asyncio.sleep(0)
        assert number


    class TestIt:
        async def test_two(self, three):
            await asyncio.sleep(0)
            assert three

        async def test_one(self):
            await asyncio.sleep(0)
"""


def text(project: Project, path: str) -> str:
    """What is in a file."""
    return (project.root / path).read_text()


def test_one_run(project: Project) -> None:
    """A suite is converted, which is said with counts, and its tests pass without async_tests."""
    project.write("tests/conftest.py", CONFTEST)
    test = project.write("tests/test_it.py", BEFORE)
    result = project.greenroom("convert")
    assert result.returncode == 0, result.stderr
    said = result.stdout + result.stderr
    assert "converted: tests/conftest.py" in said
    assert "converted: tests/test_it.py" in said
    assert (
        "1 tests and 1 fixtures and helpers are synchronous now; "
        "before: 1 tests, 1 assertions, 0 raises, 0 marks; after: 1 tests, 1 assertions, 0 raises, 0 marks"
    ) in said
    project.pytest("tests").assert_outcomes(passed=1)

    converted = test.stat().st_mtime_ns
    result = project.greenroom("convert")
    assert result.returncode == 0
    assert "nothing to convert" in result.stdout + result.stderr
    assert test.stat().st_mtime_ns == converted


def test_diff(project: Project) -> None:
    """With --diff nothing is written, and what is printed can be applied."""
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_it.py", BEFORE)
    before = text(project, "tests/test_it.py")
    result = project.command("convert", "--diff")
    assert result.returncode == 0
    assert "--- tests/test_it.py\n+++ tests/test_it.py\n" in result.stdout
    assert '-    assert (await client.get("/greeting")).json() == "hello"\n' in result.stdout
    assert '+    assert client.get("/greeting").json() == "hello"\n' in result.stdout
    assert "would be converted: tests/test_it.py" in result.stderr
    assert text(project, "tests/test_it.py") == before


def test_check(project: Project) -> None:
    """With --check nothing is written; the exit code says whether something would be."""
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_it.py", BEFORE)
    before = text(project, "tests/test_it.py")
    result = project.command("convert", "--check")
    assert result.returncode == 1
    assert "would be converted: tests/test_it.py" in result.stderr
    assert text(project, "tests/test_it.py") == before

    assert project.command("convert").returncode == 0
    result = project.command("convert", "--check")
    assert result.returncode == 0
    assert "nothing to convert" in result.stderr


def test_json(project: Project) -> None:
    """With --json all of it is printed for programs."""
    project.write("tests/test_it.py", TWO)
    project.write(
        "tests/test_stays.py", "from elsewhere import own\n\n\n@own\nasync def test_it():\n    pass\n"
    )
    result = project.command("convert", "--json", "--check")
    assert json.loads(result.stdout) == {
        "files": ["tests/test_it.py"],
        "tests": 3,
        "functions": 4,
        "before": {"tests": 4, "assertions": 2, "raises": 0, "marks": 1},
        "after": {"tests": 4, "assertions": 2, "raises": 0, "marks": 1},
        "stays": [
            {
                "file": "tests/test_stays.py",
                "line": 4,
                "name": "test_it",
                "reason": "its decorator own may expect a coroutine function",
            }
        ],
        "notes": [],
        "broken": {},
    }


def test_stays(project: Project) -> None:
    """What stays asynchronous is named with its line and the reason, and that it needs async_tests unless that is set."""
    project.write("tests/test_it.py", TWO)
    project.write(
        "tests/test_stays.py", "from elsewhere import own\n\n\n@own\nasync def test_it():\n    pass\n"
    )
    needs = "what stays asynchronous needs async_tests = true"
    said = project.command("convert", "--diff").stderr
    assert "stays asynchronous: tests/test_stays.py:4: test_it: its decorator own may expect" in said
    assert needs in said
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    assert needs not in project.command("convert", "--diff").stderr


@pytest.mark.parametrize(
    ("names", "synchronous"),
    [
        (["test_one"], ["test_one"]),
        (["test_one[1]"], ["test_one"]),
        (["TestIt::test_one"], ["TestIt.test_one"]),
        (["TestIt::test_two", "test_one"], ["test_one", "TestIt.test_two"]),
        (["TestIt"], ["TestIt.test_two", "TestIt.test_one"]),
    ],
    ids=" ".join,
)
def test_single_tests(project: Project, names: list[str], synchronous: list[str]) -> None:
    """Only the named tests become synchronous; fixtures, and marks that the others need, stay as they are."""
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    project.write("tests/test_it.py", TWO)
    result = project.command("convert", *(f"tests/test_it.py::{name}" for name in names))
    assert result.returncode == 0, result.stderr
    found = text(project, "tests/test_it.py")
    expected = {
        "test_one": "\nasync def test_one(number):\n",
        "TestIt.test_two": "    async def test_two(self, three):\n",
        "TestIt.test_one": "    async def test_one(self):\n",
    }
    for each, line in expected.items():
        if each in synchronous:
            assert line.replace("async ", "").replace("):", ", run):") in found
        else:
            assert line in found
    assert "async def three():" in found
    assert "pytestmark = pytest.mark.asyncio" in found
    project.pytest("tests").assert_outcomes(passed=4)


def test_single_tests_of_files(project: Project) -> None:
    """A test is converted in the file that it is named with, and not where another file has one of this name."""
    project.write("tests/test_it.py", TWO)
    project.write("tests/test_other.py", TWO)
    result = project.command("convert", "--json", "tests/test_it.py::test_one", "tests/test_other.py::TestIt")
    found = json.loads(result.stdout)
    assert found["tests"] == 3
    assert "\ndef test_one" in text(project, "tests/test_it.py")
    assert "async def test_two" in text(project, "tests/test_it.py")
    assert "async def test_one(number)" in text(project, "tests/test_other.py")
    assert "    def test_two" in text(project, "tests/test_other.py")


def test_single_test_with_client(project: Project) -> None:
    """A client that other tests use as well stays asynchronous where one test is converted."""
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_it.py", BEFORE)
    project.write("tests/test_other.py", BEFORE)
    assert project.command("convert", "tests/test_it.py::test_it").returncode == 0
    assert text(project, "tests/test_it.py") == (
        'def test_it(client, run):\n    assert run(client.get("/greeting")).json() == "hello"\n'
    )
    project.pytest("tests").assert_outcomes(passed=2)


def test_unknown_test(project: Project) -> None:
    """A test that is not there is said, and not passed over."""
    project.write("tests/test_it.py", TWO)
    result = project.command("convert", "tests/test_it.py::test_three")
    assert result.returncode == 2
    assert "test_three" in result.stderr


def test_one_file(project: Project) -> None:
    """Where one file is converted, the others stay as they are, and with them what the file shares with them."""
    project.replace("pyproject.toml", "seed =", "async_tests = true\nseed =")
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_it.py", BEFORE)
    before = text(project, "tests/conftest.py")
    assert project.command("convert", "tests/test_it.py").returncode == 0
    assert text(project, "tests/conftest.py") == before
    assert text(project, "tests/test_it.py") == (
        'def test_it(client, run):\n    assert run(client.get("/greeting")).json() == "hello"\n'
    )
    project.pytest("tests").assert_outcomes(passed=1)


def test_folders(project: Project) -> None:
    """Of a folder all files are taken that are of tests, and no others; folders of environments are left out."""
    project.write("src/api/test_it.py", BEFORE)
    project.write(
        "src/api/tests/helpers.py", "import pytest\n\n\n@pytest.fixture\nasync def three():\n    return 3\n"
    )
    project.write(
        "src/api/service.py", "import pytest\n\n\n@pytest.fixture\nasync def three():\n    return 3\n"
    )
    project.write("src/.venv/test_it.py", BEFORE)
    project.write("src/node_modules/test_it.py", BEFORE)
    found = json.loads(project.command("convert", "--json", "src").stdout)
    assert found["files"] == ["src/api/test_it.py", "src/api/tests/helpers.py"]


def test_wrong_calls(project: Project) -> None:
    """Paths that are not there, no folder of tests, and tests beside files are errors that say what to type."""
    result = project.command("convert")
    assert result.returncode == 2
    assert "There is no folder tests or test" in result.stderr
    assert "greenroom convert FOLDER" in result.stderr
    result = project.command("convert", "nowhere")
    assert result.returncode == 2
    assert "There is no file or folder" in result.stderr
    project.write("tests/test_it.py", TWO)
    result = project.command("convert", "tests", "tests/test_it.py::test_one")
    assert result.returncode == 2
    assert "either tests or whole files" in result.stderr


def test_without_libcst(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where LibCST is not installed, the error says how to install it."""
    for name in list(sys.modules):
        if name.startswith("greenroom.convert"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "libcst", None)
    result = project.command("convert")
    assert result.returncode == 2
    assert "LibCST, which is not installed" in result.stderr
    assert "pip install 'greenroom[convert]'" in result.stderr


def test_not_python(project: Project) -> None:
    """A file that cannot be read is named with its line and the exit code is 1; the others are converted."""
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_it.py", BEFORE)
    broken = "import pytest\n\n\nasync def test_it(:\n    pass\n"
    project.write("tests/test_broken.py", broken)
    (project.root / "tests/test_latin.py").write_bytes("# ä\n".encode("latin-1"))
    result = project.command("convert")
    assert result.returncode == 1
    assert "tests/test_broken.py stays as it is: line 4: " in result.stderr
    assert "tests/test_latin.py stays as it is: " in result.stderr
    assert text(project, "tests/test_broken.py") == broken
    assert "async" not in text(project, "tests/test_it.py")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            b"import pytest\r\n\r\n\r\n@pytest.mark.asyncio\r\nasync def test_it():\r\n    assert True\r\n",
            b"def test_it():\r\n    assert True\r\n",
        ),
        (
            b"import asyncio\r\n\r\n\r\nasync def test_it() -> None:\r\n    task = asyncio.create_task(asyncio.sleep(0))\r\n    await task\r\n",
            (
                b"import asyncio\r\n\r\nfrom greenroom.typing import Run\r\n\r\n\r\ndef test_it(run: Run) -> None:\r\n"
                b"    async def on_the_loop():\r\n        task = asyncio.create_task(asyncio.sleep(0))\r\n        await task\r\n"
                b"\r\n    run(on_the_loop())\r\n"
            ),
        ),
        (
            b"# -*- coding: latin-1 -*-\nimport pytest\n\n\n@pytest.mark.asyncio\nasync def test_it():\n    assert '\xe4'\n",
            b"# -*- coding: latin-1 -*-\n\n\ndef test_it():\n    assert '\xe4'\n",
        ),
        (
            b"\xef\xbb\xbfimport pytest\n\n\n@pytest.mark.asyncio\nasync def test_it():\n    assert '\xc3\xa4'\n",
            b"\xef\xbb\xbfdef test_it():\n    assert '\xc3\xa4'\n",
        ),
        (
            b"async def one():\n\treturn 1\n\n\nasync def test_it():\n\tassert await one()",
            b"async def one():\n\treturn 1\n\n\ndef test_it(run):\n\tassert run(one())",
        ),
        (
            b"async def one():\n  return 1\n\n\nasync def test_it():\n  if await one():\n      assert True\n",
            b"async def one():\n  return 1\n\n\ndef test_it(run):\n  if run(one()):\n      assert True\n",
        ),
    ],
    ids=[
        "CRLF",
        "CRLF with new lines",
        "a coding cookie",
        "a BOM",
        "tabs, no newline at the end",
        "other indents",
    ],
)
def test_bytes(project: Project, before: bytes, after: bytes) -> None:
    """Line ends, encodings and indents of a file stay as they are."""
    file = project.root / "tests/test_it.py"
    file.parent.mkdir()
    file.write_bytes(before)
    assert project.command("convert").returncode == 0
    assert file.read_bytes() == after
    assert json.loads(project.command("convert", "--json").stdout)["files"] == []


def test_newer_python(project: Project) -> None:
    """A file in a grammar that this Python does not know yet is converted, if LibCST knows it."""
    project.write(
        "tests/test_it.py", "type Number = int\n\n\nasync def test_it() -> None:\n    assert True\n"
    )
    assert project.command("convert").returncode == 0
    assert (
        text(project, "tests/test_it.py")
        == "type Number = int\n\n\ndef test_it() -> None:\n    assert True\n"
    )


def test_counts(project: Project) -> None:
    """Tests, assertions of all kinds, raises and marks are counted, those of asynchronous tests excepted."""
    project.write(
        "tests/test_it.py",
        """
        from unittest.mock import AsyncMock

        import pytest


        @pytest.mark.asyncio
        @pytest.mark.parametrize("number", [1, 2])
        @pytest.mark.usefixtures("tmp_path")
        async def test_it(number):
            mock = AsyncMock()
            await mock(number)
            mock.assert_awaited_once_with(number)
            with pytest.raises(LookupError):
                raise LookupError
            assert number


        class TestIt:
            async def test_it(self):
                pytest.skip("not today")
        """,
    )
    said = project.command("convert").stderr
    counts = "2 tests, 2 assertions, 2 raises, 2 marks"
    assert f"before: {counts}; after: {counts}" in said


def test_conftests_above(project: Project) -> None:
    """Fixtures of conftests above the folder are found, and stay as they are, since nobody asked to convert them."""
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/api/test_it.py", BEFORE)
    found = json.loads(project.command("convert", "--json", "tests/api").stdout)
    assert found["files"] == ["tests/api/test_it.py"]
    assert found["stays"] == []
    assert "run(client.get" in text(project, "tests/api/test_it.py")


def test_hierarchy(project: Project) -> None:
    """Each test gets the fixture of the nearest conftest: one has the application's client, one that of a server."""
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_it.py", BEFORE)
    project.write(
        "tests/api/conftest.py",
        """
        import pytest


        @pytest.fixture
        async def client(client):
            client.headers["x"] = "y"
            await client.get("/greeting")
            yield client
        """,
    )
    project.write("tests/api/test_api.py", BEFORE)
    project.write(
        "tests/server/conftest.py",
        """
        import httpx2
        import pytest


        @pytest.fixture
        async def client():
            async with httpx2.AsyncClient(base_url="http://localhost") as client:
                yield client
        """,
    )
    project.write("tests/server/test_server.py", BEFORE)
    assert project.command("convert").returncode == 0
    assert text(project, "tests/test_it.py") == text(project, "tests/api/test_api.py")
    assert text(project, "tests/api/test_api.py").startswith("def test_it(client):\n    assert client.get")
    assert '    client.get("/greeting")\n    yield client\n' in text(project, "tests/api/conftest.py")
    assert text(project, "tests/server/test_server.py").startswith(
        "def test_it(client, run):\n    assert run(client.get"
    )
    assert "with run.context(httpx2.AsyncClient" in text(project, "tests/server/conftest.py")
    project.pytest("tests/test_it.py", "tests/api").assert_outcomes(passed=2)


def test_plugins(project: Project) -> None:
    """Fixtures of a module in pytest_plugins, and of one that a conftest imports from, are the suite's, too."""
    project.write("tests/__init__.py", "")
    project.write("tests/fixtures.py", CONFTEST)
    project.write("tests/conftest.py", 'pytest_plugins = ["tests.fixtures"]\n')
    project.write("tests/test_it.py", BEFORE)
    project.write("tests/more/__init__.py", "")
    project.write("tests/more/fixtures.py", CONFTEST)
    project.write("tests/more/conftest.py", "from tests.more.fixtures import *\n")
    project.write("tests/more/test_it.py", BEFORE)
    assert project.command("convert").returncode == 0
    assert text(project, "tests/test_it.py") == text(project, "tests/more/test_it.py")
    assert text(project, "tests/test_it.py").startswith("def test_it(client):\n    assert client.get")
    project.pytest("tests").assert_outcomes(passed=2)


def test_without_configuration(project: Project) -> None:
    """A project that does not use greenroom yet can be converted; its application is named in each client."""
    (project.root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_it.py", BEFORE)
    assert project.command("convert").returncode == 0
    assert text(project, "tests/test_it.py").startswith("def test_it(client):\n    assert client.get")
    assert "with make_client(app=app, base_url=" in text(project, "tests/conftest.py")
