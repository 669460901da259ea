"""What the pages of docs/ show is what happens: each code block is run, as its comment says (see pages.py)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from _pytest.pytester import RunResult
from coverage import Coverage

from greenroom import config
from tests.greenroom.conftest import PROJECTS, Project
from tests.greenroom.pages import ROOT, Block, blocks_of, missing
from tests.lab.run import Program
from tests.lab.ways import PROGRAMS as PROGRAMS_OF_LAB

PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCKS = [block for page in PAGES for block in blocks_of(page)]

TEST_FILE = "tests/test_it.py"
"""Where a block is written that does not say where."""

SUITES: dict[tuple[Path, str], list[Block]] = {}
"""By page and project, the blocks with tests that are to pass and whose output nobody looks at."""

for _block in BLOCKS:
    if (_block.how, _block.language, _block.fails) == ("run", "python", False) and not any(
        _block is other.printing for other in BLOCKS
    ):
        SUITES.setdefault((_block.page, _block.project), []).append(_block)


def those(way: str, *, unless: Collection[Block | None] = ()) -> pytest.MarkDecorator:
    """Run a test for each block that is run in this way."""
    chosen = [block for block in BLOCKS if block.how == way and block not in unless]
    return pytest.mark.parametrize("block", chosen, ids=map(str, chosen))


MakeProject = Callable[[Block], Project]


@pytest.fixture
def project_of(
    pytester: pytest.Pytester, clean_environment: None, monkeypatch: pytest.MonkeyPatch, server_url: str
) -> MakeProject:
    """Makes a copy of the project that a block belongs to, with the files that the blocks before it write."""
    monkeypatch.setenv("GREENROOM_SERVER_URL", server_url)
    programs = str(Path(sys.prefix) / "bin")
    monkeypatch.setenv("PATH", os.pathsep.join([programs, os.environ["PATH"]]))
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON"):
        monkeypatch.delenv(name, raising=False)

    def make(block: Block) -> Project:
        if block.project == "app":
            copy_service(pytester.path)
        else:
            shutil.copytree(PROJECTS / block.project, pytester.path, dirs_exist_ok=True)
        project = Project(pytester.path, pytester)
        for one in block.written:
            project.write(one.path, one.text)
        return project

    return make


def copy_service(root: Path) -> None:
    """The reference service, its suite and its Makefile, with this environment in the place of a new .venv."""
    for name in ("app", "requirements", "scripts", "tests/unit", "tests/integration", "tests/api"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "Makefile",
        "pyproject.toml",
        *(f"tests/{path.name}" for path in (ROOT / "tests").glob("*.py")),
    ):
        shutil.copy(ROOT / name, root / name)
    (root / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith("."):
            (root / ".venv" / path.name).symlink_to(path)
    # What scripts/bootstrap leaves when .venv is whole. If it wrote something else by now, it would make .venv again.
    sums = subprocess.run(
        ["cksum", "requirements/dev.txt", "scripts/bootstrap", "pyproject.toml"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    version = ".".join(map(str, sys.version_info[:2]))
    (root / ".venv/.bootstrapped").write_text(f"python {version}\ncheckout {root}\n{sums}")


def run_tests(project: Project, block: Block) -> RunResult:
    """Run a block as a test file; it passes or fails as it says."""
    project.write(block.path or TEST_FILE, block.text)
    result = project.pytest(block.path or TEST_FILE)
    if block.fails:
        assert result.ret == 1, result.stdout.str()
    else:
        assert_passed(result)
    return result


def assert_passed(result: RunResult) -> None:
    """Check that there were tests, and that all of them have passed without a warning."""
    assert result.ret == 0, result.stdout.str()
    assert set(result.parseoutcomes()) == {"passed"}, result.stdout.str()


def run_commands(project: Project, block: Block) -> str:
    """Run the commands of a block, each of which prints what stands below it. Returns what the last one printed."""
    said = ""
    for number, (command, expected) in enumerate(block.commands, 1):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        )  # fmt: skip
        said = done.stdout
        fails = block.fails and number == len(block.commands)
        assert (done.returncode != 0) == fails, said
        assert not (line := missing(expected, said)), (
            f"{block}: {command} does not print {line!r}, but:\n{said}"
        )
    return said


def run(project: Project, block: Block) -> str:
    """Run a block. Returns what it prints."""
    if block.language == "console":
        return run_commands(project, block)
    assert block.language == "python", f"{block}: python or console can be run"
    result = run_tests(project, block)
    return result.stdout.str()


@pytest.mark.parametrize("block", BLOCKS, ids=map(str, BLOCKS))
def test_each_says_how_it_is_run(block: Block) -> None:
    """A block without a way to run does not pass, and on the pages that teach, each is run here."""
    assert block.how, f"{block}: no comment says how it is run (see tests/greenroom/pages.py)"
    if block.how in {"run", "snippet", "write"}:
        assert block.project == "app" or (PROJECTS / block.project).is_dir(), f"{block}: which project?"
    if block.how == "write":
        assert block.path, f"{block}: which file?"
    if block.how == "run by":
        assert (ROOT / block.project).is_file(), f"{block}: {block.project} is not there"
    if block.strict:
        assert block.how in {"run", "snippet", "write", "output", "load", "quote"}, (
            f"{block}: it is to be run here"
        )


@pytest.mark.parametrize("suite", SUITES.values(), ids=[f"{page.stem}-{name}" for page, name in SUITES])
def test_suite(suite: list[Block], project_of: MakeProject) -> None:
    """The tests of a page that are to pass do so, as one suite: what it takes to start is paid for once."""
    project = project_of(suite[-1])
    paths = []
    for block in suite:
        paths.append(f"{(block.path or TEST_FILE).rpartition('/')[0]}/test_line_{block.line}.py")
        project.write(paths[-1], block.text)
    result = project.pytest(*paths)
    assert_passed(result)
    found = set(re.findall(r"test_line_(\d+)", result.stdout.str()))
    assert found == {str(block.line) for block in suite}, "a block without a test"


@those(
    "run",
    unless={block.printing for block in BLOCKS} | {block for suite in SUITES.values() for block in suite},
)
def test_run(block: Block, project_of: MakeProject) -> None:
    """Other tests pass, or fail if they are to; commands succeed and print what is shown."""
    run(project_of(block), block)


SURROUNDINGS = """
from __future__ import annotations

import asyncio

from sqlalchemy import NullPool, create_engine, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, selectinload

from vault import service
from vault.models import metadata


async def main():
    pass


def synchronous_function(session):
    return session.connection()
"""
"""What stands around the snippets of a page."""

SNIPPET = """

def test_snippet_{line}(run, async_session, provider):
    from vault.main import app, engine, new_session
    from vault.models import Provider

    class Base(DeclarativeBase):
        pass

    async def snippet(session, provider, connection, app=app, engine=engine, new_session=new_session, Base=Base,
                      Provider=Provider, url=engine.url, statement=select(Provider)):
{text}

    async def surrounded():
        async with engine.connect() as connection:
            await snippet(async_session, await async_session.get(Provider, provider), connection)

    run(surrounded())
"""
"""How a snippet is run that is no test: as the body of an asynchronous function, on the application's loop."""


@pytest.mark.parametrize(
    "page", sorted({block.page for block in BLOCKS if block.how == "snippet"}), ids=lambda page: page.stem
)
def test_snippets(page: Path, project_of: MakeProject) -> None:
    """The snippets of a page run without an error, each by itself."""
    snippets = [block for block in BLOCKS if (block.page, block.how) == (page, "snippet")]
    project = project_of(snippets[0])
    for block in snippets:
        if re.search(r"^def test_", block.text, re.MULTILINE):
            text = block.text
        elif "asyncio.run(" in block.text:
            text = f"def test_snippet():\n{textwrap.indent(block.text, '    ')}"
        else:
            text = SNIPPET.format(line=block.line, text=textwrap.indent(block.text, " " * 8))
        project.write(f"tests/test_line_{block.line}.py", SURROUNDINGS + text)
    result = project.pytest(*(f"tests/test_line_{block.line}.py" for block in snippets))
    assert result.ret == 0, result.stdout.str()
    assert result.parseoutcomes() == {"passed": len(snippets)}, result.stdout.str()


@those("output")
def test_output(block: Block, project_of: MakeProject) -> None:
    """What is shown as output is what the block before it prints, which passes or fails as it says."""
    assert block.printing is not None, f"{block}: there is no block before it"
    said = run(project_of(block.printing), block.printing)
    assert not (line := missing(block.text, said)), f"{block}: not printed: {line!r}, but:\n{said}"


@those("write")
def test_written_python(block: Block) -> None:
    """A file that others need is used by a block after it; what is Python can be compiled."""
    users = [one for one in BLOCKS if one.page == block.page and one.how == "run" and block in one.written]
    assert users, f"{block}: no block after it is run in {block.project}"
    if block.path.endswith(".py"):
        compile(block.text, str(block), "exec")


@those("load")
def test_loaded(block: Block, tmp_path: Path) -> None:
    """A configuration is accepted by those who read it."""
    if block.language == "toml":
        load_toml(block, tmp_path)
        return
    if block.language == "yaml":
        (tmp_path / "workflow.yml").write_text(block.text)
        schema = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
        command = [str(Path(sys.prefix) / "bin" / schema[0]), *schema[1:], "workflow.yml"]
    else:
        (tmp_path / "Makefile").write_text(block.text)
        targets = re.findall(r"^([a-z-]+):", block.text, re.MULTILINE)
        for name in re.findall(r"^\S+: *([\w.]+)$", block.text, re.MULTILINE):
            (tmp_path / name).touch()
        command = ["make", "-n", "--warn-undefined-variables", *targets]
        command += ["ENGINE=embedded", "SHARD=1/2", "PYTEST_ARGS=-x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def load_toml(block: Block, folder: Path) -> None:
    """Load each table that a block has with the one who reads it."""
    tools = tomllib.loads(block.text)["tool"]
    text = block.text
    if "app" not in tools.get("greenroom", {"app": ""}):  # A page about some of the keys only.
        text = text.replace(
            "[tool.greenroom]\n", '[tool.greenroom]\napp = "app.main:app"\nalembic = "alembic.ini"\n'
        )
        (folder / "alembic.ini").touch()
    (folder / "pyproject.toml").write_text(text)
    if "greenroom" in tools:
        table = tools.pop("greenroom")
        for name in (table.get("alembic", []), *table.get("sql", []), *table.get("seed", [])):
            if name:
                (folder / name).touch()
        if "migration_rows" in table:
            (folder / table["migration_rows"]).mkdir(parents=True)
        found = config.find(folder)
        assert all(getattr(found, key) for key in table)
    if "coverage" in tools:
        # An unknown option is a warning, and a warning is an error.
        Coverage(config_file=str(folder / "pyproject.toml"))
        del tools["coverage"]
    if "pytest" in tools:
        # pytest-asyncio is not here; the laboratory's program with these settings has been run with it.
        options = tools.pop("pytest")["ini_options"]
        mended = Program.of(PROGRAMS_OF_LAB / "a1_mended.py")
        assert {f"{name} = {value}" for name, value in options.items()} == set(mended.ini)
    assert not tools, f"{block}: nobody here reads {', '.join(tools)}"


def test_output_that_is_not_there() -> None:
    """Lines are compared whole and in order; `…` is anything, and nothing else is special."""
    assert missing("a [1]\n…c\n", "x\na [1]\nb c\n") == ""
    assert missing("c\na\n", "a\nc\n") == "a"
    assert missing("a.\n", "ab\n") == "a."
    assert missing("a\n", "a b\n") == "a"


def test_blocks_of_a_page(tmp_path: Path) -> None:
    """Comments are read, files are found by the later blocks of the same project, and a bare block has no way."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- write: shop tests/conftest.py -->\n```python\nx = 1\n```\n"
        "<!-- run: shop, fails -->\n```python\ny = 1\n```\n\n"
        "<!-- output -->\n```text\nz\n```\n"
        "```{include} ../README.md\n```\n"
        "```python\nbare = 1\n```\n"
        "<!-- run: app tests/unit/test_it.py -->\n```python\n```\n"
        "<!-- run it somehow -->\n```python\n```\n"
    )
    written, run, output, bare, app, unknown = blocks_of(page)
    assert (written.how, written.path, written.line) == ("write", "tests/conftest.py", 3)
    assert (run.project, run.fails, run.written) == ("shop", True, (written,))
    assert (output.how, output.printing) == ("output", run)
    assert (app.path, app.written) == ("tests/unit/test_it.py", ())
    assert bare.how == unknown.how == ""
