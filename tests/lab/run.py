"""Running the programs: each in a pytest of its own, on a database of its own, in each environment."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import URL

from greenroom.output import silent
from greenroom.servers.embedded import Embedded, sweep
from greenroom.urls import conninfo

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PROGRAMS: Final = HERE / "programs"
LONGEST: Final = 120
"""Seconds after which a program is ended. The slowest takes some five."""


@dataclasses.dataclass(frozen=True)
class Program:
    """One minimal program.

    Attributes:
        path: Its file.
        title: What it tries.
        cause: Why it comes out as it does.
        ini: Lines of its pytest.ini.
        runs: How often it is run, where chance decides.
    """

    path: Path
    title: str
    cause: str
    ini: tuple[str, ...]
    runs: int

    @property
    def name(self) -> str:
        """Its file's."""
        return self.path.stem

    @classmethod
    def of(cls, path: Path) -> Program:
        """A program as its docstring describes it: a title, and then lines such as `cause: …`."""
        title, _, rest = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")
        says = re.findall(r"^(cause|pytest\.ini|runs): (.*)$", rest, re.MULTILINE)
        return cls(
            path=path,
            title=title,
            cause=next(value for key, value in says if key == "cause"),
            ini=tuple(value for key, value in says if key == "pytest.ini"),
            runs=next((int(value) for key, value in says if key == "runs"), 1),
        )


@dataclasses.dataclass(frozen=True)
class Environment:
    """Where programs run.

    Attributes:
        name: Its own.
        title: As the page has it.
        python: The interpreter of its venv.
        driver: Of the URL.
    """

    name: str
    title: str
    python: Path
    driver: str = "postgresql+asyncpg"


GREENROOM: Final = Environment("greenroom", "under greenroom", ROOT / ".venv/bin/python")


def environments(*, newest: bool) -> list[Environment]:
    """The environments of the programs.

    Args:
        newest: Today's versions are the newest that there are, not the locked ones.
    """
    story = ROOT / ".greenroom/lab-story/bin/python"
    today = ROOT / f".greenroom/lab-{'newest' if newest else 'today'}/bin/python"
    return [
        Environment("story", "as the story had it", story),
        Environment("today", "today", today),
        Environment("psycopg", "today, psycopg", today, "postgresql+psycopg"),
    ]


def programs() -> list[Program]:
    """All programs by name, the mended ones of an approach last."""
    paths = PROGRAMS.glob("[ab][0-9]_*.py")
    return [
        Program.of(path)
        for path in sorted(paths, key=lambda path: (path.stem[:2], path.stem.endswith("_mended"), path.stem))
    ]


def versions(environment: Environment) -> str:
    """The versions that matter in an environment."""
    script = (
        "import sys, importlib.metadata as m\n"
        "print('Python', '%d.%d' % sys.version_info[:2], *(f', {n} {m.version(n)}' for n in sys.argv[1:]))"
    )
    names = [
        "pytest",
        "pytest-asyncio",
        "SQLAlchemy",
        "greenlet",
        "asyncpg",
        "psycopg",
        "fastapi",
        "starlette",
    ]
    done = subprocess.run(
        [environment.python, "-c", script, *names], capture_output=True, text=True, check=True
    )
    return done.stdout.strip().replace(" ,", ",")


@contextmanager
def server() -> Iterator[URL]:
    """The admin URL of a server of the laboratory's own: of a run that is killed, the next one removes it."""
    sweep()
    running = Embedded.new(ROOT, listens=False)
    try:
        running.start(silent)
        yield running.admin
    finally:
        running.stop()


def run(
    program: Program,
    environment: Environment,
    admin: URL,
    *,
    plugins: tuple[str, ...] = ("pytest_asyncio.plugin",),
) -> list[Any]:
    """What came out of a program: one entry, or where it is run several times, each different one.

    Args:
        program: Which.
        environment: Where.
        admin: The server.
        plugins: Of pytest, which are loaded.
    """
    options = [word for line in program.ini for word in ("-o", line.replace(" = ", "="))]
    options += [word for plugin in plugins for word in ("-p", plugin)]
    found = []
    for _ in range(program.runs):
        with _database(admin.set(drivername=environment.driver)) as url:
            one = _pytest(
                environment,
                [*options, program.path],
                program.path.parent,
                {"DATABASE_URL": url.render_as_string(hide_password=False)},
            )
        if one not in found:
            found.append(one)
    return sorted(found, key=json.dumps)


def run_greenroom(admin: URL) -> list[Any]:
    """What came out of the same services under greenroom, in synchronous tests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (PROGRAMS / "models.py", PROGRAMS / "service.py", HERE / "greenroom/pyproject.toml"):
            (folder / path.name).write_text(path.read_text())
        (folder / "test_approaches.py").write_text((HERE / "greenroom/approaches.py").read_text())
        variables = {"GREENROOM_SERVER_URL": conninfo(admin), "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"}
        return [_pytest(GREENROOM, ["-p", "greenroom.plugin", "."], folder, variables)]


@contextmanager
def _database(admin: URL) -> Iterator[URL]:
    """A new database with the programs' tables, for as long as the block."""
    name = "lab"
    with psycopg.connect(conninfo(admin), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            with psycopg.connect(conninfo(admin.set(database=name)), autocommit=True) as own:
                own.execute((PROGRAMS / "schema.sql").read_text())
            yield admin.set(database=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _pytest(
    environment: Environment, arguments: Sequence[str | Path], here: Path, variables: Mapping[str, str]
) -> Any:
    """Run pytest once in a folder, and return what the recorder has written down.

    What newer versions can bring is an outcome as well: a program that does not end, or with which pytest does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GREENROOM"))
        }
        own = {
            "PYTHONPATH": str(HERE),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "LAB_PROGRAMS": str(here),
            "LAB_RESULT": str(result),
        }
        without = [
            word for name in ("cacheprovider", "randomly", "faulthandler") for word in ("-p", f"no:{name}")
        ]
        try:
            done = subprocess.run(
                [
                    environment.python,
                    "-m",
                    "pytest",
                    "-q",
                    "-p",
                    "recorder",
                    *without,
                    "--rootdir",
                    here,
                    *arguments,
                ],
                cwd=here,
                env={**outer, **own, **variables},
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"stopped": f"no end within {LONGEST} s"}
        if done.returncode < 0:
            return {"crash": signal.Signals(-done.returncode).name}
        # 2: something could not be collected, which the recorder has written down.
        if done.returncode in (0, 1, 2) and result.exists():
            return json.loads(result.read_text())
        said = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        return {"stopped": f"pytest ended with {done.returncode}: {said[-1] if said else 'it said nothing'}"}
