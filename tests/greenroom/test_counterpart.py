"""The reference suite's counterpart: a part of it as users of pytest-asyncio write it, which greenroom runs as it is."""

from __future__ import annotations

import ast
import dataclasses
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from greenroom.urls import for_driver
from tests.greenroom.conftest import PROJECTS, ROOT, Project
from tests.greenroom.test_async_plugins import folders

COUNTERPART = PROJECTS / "counterpart"

FILES = sorted(path.relative_to(COUNTERPART).as_posix() for path in COUNTERPART.rglob("test_*.py"))
"""Its test files. Each has the path of the synchronous one."""

TESTS = 89
"""How many tests it has, each parameter counted."""

ENVIRONMENT = {
    "ENVIRONMENT": "test",
    "ARGON2_TIME_COST": "1",
    "ARGON2_MEMORY_COST": "8",
    "ARGON2_PARALLELISM": "1",
}
"""What the suite wants of its environment."""

GREENROOM = f"""
[tool.greenroom]
app = "app.main:app"
alembic = "alembic.ini"
async_tests = true
environment = {{ {", ".join(f'{name} = "{value}"' for name, value in ENVIRONMENT.items())} }}
"""

STAND_IN = '''
"""What the suite has of pytest-asyncio: the decorator."""

from pytest import fixture
'''


@pytest.fixture
def counterpart(
    pytester: pytest.Pytester, clean_environment: None, monkeypatch: pytest.MonkeyPatch, server_url: str
) -> Project:
    """The asynchronous suite beside the service that it tests."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(COUNTERPART, pytester.path, dirs_exist_ok=True, ignore=ignore)
    shutil.copytree(ROOT / "app", pytester.path / "app", ignore=ignore)
    shutil.copy(ROOT / "tests/fixtures.py", pytester.path / "tests/fixtures.py")
    return Project(pytester.path, pytester)


def with_greenroom(project: Project) -> None:
    """Have greenroom run the asynchronous tests: the settings are all that such a suite needs."""
    settings = project.root / "pyproject.toml"
    settings.write_text(settings.read_text() + GREENROOM)


def with_pytest_asyncio(project: Project, folder: Path | None) -> None:
    """Put pytest-asyncio beside the suite, or its decorator if it is nowhere."""
    if folder is None:
        project.write("pytest_asyncio.py", STAND_IN)
        return
    for each in folder.glob("pytest_asyncio*"):
        shutil.copytree(each, project.root / each.name)


each_pytest_asyncio = pytest.mark.parametrize(
    "folder", folders(), ids=lambda folder: folder.name if folder else "none"
)


@each_pytest_asyncio
def test_counterpart_as_it_is(counterpart: Project, folder: Path | None) -> None:
    """Under `async_tests = true` all of it passes, with pytest-asyncio installed and without."""
    with_greenroom(counterpart)
    with_pytest_asyncio(counterpart, folder)

    counterpart.pytest("-q", "-p", "no:warnings").assert_outcomes(passed=TESTS)


def test_counterpart_without_its_own_isolation(counterpart: Project) -> None:
    """Greenroom's rewind does what the fixture does that empties the tables, so nothing is missed without it."""
    with_greenroom(counterpart)
    with_pytest_asyncio(counterpart, None)
    conftest = (counterpart.root / "tests/conftest.py").read_text()
    own = re.search(
        r"@pytest_asyncio.fixture\(autouse=True\)\nasync def clean_tables.*?\n\n\n", conftest, re.DOTALL
    )
    assert own is not None
    counterpart.replace("tests/conftest.py", own[0], "")

    counterpart.pytest("-q", "-p", "no:warnings").assert_outcomes(passed=TESTS)


@each_pytest_asyncio
def test_counterpart_under_pytest_asyncio(
    counterpart: Project, folder: Path | None, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a suite for pytest-asyncio: without greenroom, on a database that was migrated before, the same tests pass."""
    if folder is None:
        pytest.skip("no pytest-asyncio: make lab, or TOOLKIT_PYTEST_ASYNCIO=…")
    with_pytest_asyncio(counterpart, folder)
    name = f"counterpart_{random.randrange(10**9)}"
    url = for_driver(make_url(server_url), "postgresql+asyncpg").set(database=name)
    for variable, value in (
        ENVIRONMENT | {"DATABASE_URL": url.render_as_string(hide_password=False)}
    ).items():
        monkeypatch.setenv(variable, value)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
            subprocess.run(alembic, cwd=counterpart.root, check=True, capture_output=True, timeout=60)
            result = counterpart.pytest("-q", "-p", "no:greenroom")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    result.assert_outcomes(passed=TESTS)


def test_counterpart_converted(counterpart: Project) -> None:
    """`greenroom convert` makes of it what the reference suite is: as many tests pass, and each checks what it did there."""
    with_greenroom(counterpart)

    done = counterpart.greenroom("convert", "tests", timeout=120)

    assert done.returncode == 0, done.stdout + done.stderr
    for path in (counterpart.root / "tests").rglob("*.py"):
        assert not re.search(r"async def test_|mark\.asyncio|pytest_asyncio", path.read_text()), path
    for file in FILES:
        converted, synchronous = (checks((root / file).read_text()) for root in (counterpart.root, ROOT))
        assert converted.items() <= synchronous.items()
    counterpart.pytest("-q", "-p", "no:warnings").assert_outcomes(passed=TESTS)
    assert counterpart.greenroom("convert", "tests", "--check", timeout=120).returncode == 0


@pytest.mark.parametrize("file", FILES)
def test_counterpart_is_of_the_reference_suite(file: str) -> None:
    """Each of its tests is there as a synchronous one, with the same parameters, and asserts as much."""
    asynchronous, synchronous = (checks((root / file).read_text()) for root in (COUNTERPART, ROOT))

    assert asynchronous
    assert asynchronous.items() <= synchronous.items()


@dataclasses.dataclass(frozen=True)
class Checks:
    """What a test checks.

    Attributes:
        docstring: What it says that it checks.
        parameters: The source of its parameters.
        asserts: How many assertions it has, those of the helpers' calls included.
        raises: The errors that it expects.
    """

    docstring: str | None
    parameters: str
    asserts: int
    raises: tuple[str, ...]


HELPERS = ("ok", "assert_problem")
"""Functions of the suite that assert."""


def checks(source: str) -> dict[str, Checks]:
    """What each test of a file checks, by its name: the same for a test and for its asynchronous form."""
    return {
        function.name: _checks(function)
        for function in ast.parse(source).body
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test_")
    }


def _checks(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Checks:
    nodes = list(ast.walk(function))
    called = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    return Checks(
        docstring=ast.get_docstring(function),
        parameters="".join(
            ast.unparse(each) for each in function.decorator_list if "parametrize" in ast.unparse(each)
        ),
        asserts=sum(isinstance(node, ast.Assert) for node in nodes) + sum(name in HELPERS for name in called),
        raises=tuple(
            ast.unparse(node.args[0])
            for node in nodes
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises"
        ),
    )
