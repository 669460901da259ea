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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL

from greenroom.output import silent
from greenroom.servers.embedded import Embedded, sweep
from tests.lab import ways
from tests.lab.ways import HERE, PROGRAMS, ROOT

NEEDS: Final = ways.PEERS / "needs.py"
LONGEST: Final = 120
"""Seconds after which a program is ended. The slowest takes some five."""


@dataclasses.dataclass(frozen=True)
class Program:
    """One minimal program, or the conftest of an approach.

    Attributes:
        path: Its file.
        title: What it tries.
        cause: Why it comes out as it does.
        ini: Lines of its pytest.ini.
        runs: How often it is run, where chance decides.
        plugins: Of pytest, besides those of the environment.
    """

    path: Path
    title: str
    cause: str
    ini: tuple[str, ...]
    runs: int
    plugins: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its file's."""
        return self.path.stem

    @classmethod
    def of(cls, path: Path) -> Program:
        """A program as its docstring describes it: a title, and then lines such as `cause: …`."""
        title, _, rest = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")
        says = re.findall(r"^(cause|pytest\.ini|runs|plugin): (.*)$", rest, re.MULTILINE)
        return cls(
            path=path,
            title=title,
            cause=next(value for key, value in says if key == "cause"),
            ini=tuple(value for key, value in says if key == "pytest.ini"),
            runs=next((int(value) for key, value in says if key == "runs"), 1),
            plugins=tuple(value for key, value in says if key == "plugin"),
        )


@dataclasses.dataclass(frozen=True)
class Environment:
    """Where programs run.

    Attributes:
        name: Its own.
        title: As the page has it.
        python: The interpreter of its venv.
        driver: Of the URL.
        plugins: Of pytest, which are loaded: entry points, since some look for others by these names.
        ini: Lines of pytest.ini for each program.
        way: How a program is laid out.
        programs: Those that it is for, by the beginnings of their names.
    """

    name: str
    title: str
    python: Path
    driver: str = "postgresql+asyncpg"
    plugins: tuple[str, ...] = ("asyncio",)
    ini: tuple[str, ...] = ()
    way: ways.Way = ways.as_it_is
    programs: tuple[str, ...] = ("a", "b")


GREENROOM: Final = Environment(
    "greenroom", "under greenroom", ROOT / ".venv/bin/python", plugins=("greenroom.plugin",)
)
AUTO: Final = "asyncio_mode = auto"


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
        Environment(
            "unedited",
            "under greenroom, as it stands",
            today,
            plugins=("asyncio", "greenroom.plugin"),
            way=ways.under_greenroom,
        ),
        Environment("auto", "auto mode", today, ini=(AUTO,)),
        Environment("green-light", "pytest-green-light", today, plugins=("asyncio", "green_light")),
        Environment(
            "green-light-auto",
            "pytest-green-light, auto mode",
            today,
            plugins=("asyncio", "green_light"),
            ini=(AUTO,),
        ),
        Environment(
            "sqla",
            "with pytest-sqla's session",
            today,
            plugins=("asyncio", "sqla"),
            way=ways.with_sqla,
            programs=("a",),
        ),
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
        "known = {each.name.lower() for each in m.distributions()}\n"
        "names = [name for name in sys.argv[1:] if name.lower() in known]\n"
        "print('Python', '%d.%d' % sys.version_info[:2], *(f', {n} {m.version(n)}' for n in names))"
    )
    names = [
        "pytest",
        "pytest-asyncio",
        "pytest-green-light",
        "pytest-sqla",
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


def run(program: Program, environment: Environment, admin: URL, *, only: str = "") -> list[Any]:
    """What came out of a program: one entry, or where it is run several times, each different one.

    Args:
        program: Which.
        environment: Where.
        admin: The server.
        only: One of its tests.
    """
    found = []
    for _ in range(program.runs):
        with environment.way(program.path, admin.set(drivername=environment.driver)) as place:
            target = f"{place.path}::{only}" if only else place.path
            arguments = [*options(environment, *program.ini), target]
            one = _pytest(environment, arguments, place.path.parent, place.variables)
        if one not in found:
            found.append(one)
    return sorted(found, key=json.dumps)


def options(environment: Environment, *ini: str) -> list[str]:
    """The options of pytest for an environment: its plugins, and lines of pytest.ini."""
    words = [
        word for line in (*ini, *environment.ini) for word in ("-o", re.sub(r"\s*=\s*", "=", line, count=1))
    ]
    return [*words, *(word for plugin in environment.plugins for word in ("-p", plugin))]


ALONE: Final = ("unedited", "sqla")
"""Environments that leave nothing of a test. One that needs what an earlier one has left fails there."""


def note_alone(program: Program, today: Environment, admin: URL, found: dict[str, list[Any]]) -> None:
    """Note of each test that fails in another way there than today, whether it fails like that today, too, if it is alone.

    Args:
        program: Which.
        today: The environment to run it alone in.
        admin: The server.
        found: What came out of the program in each environment.
    """
    known = [outcome for one in found[today.name] for outcome in one.get("outcomes", ())]
    others = [one for name in ALONE for one in found.get(name, ())]
    for outcome in (each for one in others for each in one.get("outcomes", ())):
        if not outcome["error"] or any(_same(outcome, other) for other in known):
            continue
        alone = [
            other
            for one in run(program, today, admin, only=outcome["test"])
            for other in one.get("outcomes", ())
        ]
        outcome["alone"] = any(_same(outcome, other) for other in alone)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in ("test", "phase", "error", "line"))


def run_greenroom(admin: URL) -> list[Any]:
    """What came out of the same services under greenroom, in synchronous tests."""
    with ways.copies(HERE / "greenroom/pyproject.toml") as folder:
        (folder / "test_approaches.py").write_text((HERE / "greenroom/approaches.py").read_text())
        variables = ways.greenroom_variables(admin)
        return [_pytest(GREENROOM, [*options(GREENROOM), "."], folder, variables)]


def run_needs(approach: Program, today: Environment, admin: URL) -> list[Any]:
    """What came out of the tests that are the same for each approach.

    Args:
        approach: Its conftest.
        today: The environment.
        admin: The server.
    """
    environment = dataclasses.replace(today, plugins=(*today.plugins, *approach.plugins))
    settings = [PROGRAMS / "pyproject.toml"] if approach.name == "greenroom" else []
    with ways.copies(NEEDS, *settings) as folder, ExitStack() as stack:
        (folder / "conftest.py").write_text(approach.path.read_text())
        if settings:
            variables = ways.greenroom_variables(admin)
        else:
            url = admin.set(drivername=environment.driver)
            tables = approach.name != "sqla"  # it makes and drops them itself
            variables = ways.sqla_variables(stack.enter_context(ways.database(url, tables=tables)))
        arguments = [*options(environment, *approach.ini), NEEDS.name]
        return [_pytest(environment, arguments, folder, variables)]


def approaches() -> list[Program]:
    """The conftests of those that have the same tests, in the order of the page."""
    names = ("plain", "recipe", "green_light", "green_light_one_loop", "sqla", "greenroom")
    return [Program.of(ways.PEERS / f"{name}.py") for name in names]


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
