"""How a program is laid out for a run: as it is, with greenroom's settings beside it, or with another plugin's session."""

from __future__ import annotations

import ast
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import URL

from greenroom.urls import conninfo

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
PROGRAMS: Final = HERE / "programs"
PEERS: Final = HERE / "peers"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a program is run.

    Attributes:
        path: Its file, or a copy.
        variables: Of the environment.
    """

    path: Path
    variables: Mapping[str, str]


Way = Callable[[Path, URL], AbstractContextManager[Place]]
"""Takes a program's file and an admin URL with the driver of the environment."""


@contextmanager
def as_it_is(path: Path, admin: URL) -> Iterator[Place]:
    """The program itself, and a database with its tables."""
    with database(admin) as url:
        yield Place(path, {"DATABASE_URL": url.render_as_string(hide_password=False)})


@contextmanager
def under_greenroom(path: Path, admin: URL) -> Iterator[Place]:
    """A copy with the settings that are beside the programs; greenroom makes the database."""
    with copies(path, PROGRAMS / "pyproject.toml") as folder:
        yield Place(folder / path.name, greenroom_variables(admin))


@contextmanager
def with_sqla(path: Path, admin: URL) -> Iterator[Place]:
    """A copy whose tests get the session of pytest-sqla in place of the program's own; the plugin makes the tables."""
    with copies() as folder, database(admin, tables=False) as url:
        (folder / "conftest.py").write_text(_SQLA_CONFTEST)
        (folder / path.name).write_text(with_fixtures_of(path.read_text(), "sqla_async_session"))
        yield Place(folder / path.name, sqla_variables(url))


def greenroom_variables(admin: URL) -> dict[str, str]:
    """What a run under greenroom needs: the server, and greenroom itself."""
    return {"GREENROOM_SERVER_URL": conninfo(admin), "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"}


def sqla_variables(url: URL) -> dict[str, str]:
    """The application's variable, and the plugin's."""
    text = url.render_as_string(hide_password=False)
    return {"DATABASE_URL": text, "PYTEST_SQLA_URL": text}


@contextmanager
def copies(*paths: Path) -> Iterator[Path]:
    """A folder with the models, the service and these files."""
    with tempfile.TemporaryDirectory() as name:
        for path in (PROGRAMS / "models.py", PROGRAMS / "service.py", *paths):
            (Path(name) / path.name).write_text(path.read_text())
        yield Path(name)


_SQLA_CONFTEST: Final = """\
import pytest


@pytest.fixture(scope="session")
def sqla_session_options():
    return {"expire_on_commit": False}


@pytest.fixture(scope="session")
def sqla_metadata():
    import models

    return models.metadata
"""
"""As its README has it: options like those of the application's own factory."""


def with_fixtures_of(text: str, session: str) -> str:
    """A program whose fixtures are replaced by a plugin's session, under the names that its tests ask for.

    Each line keeps its number.

    Args:
        text: The program.
        session: The plugin's fixture.
    """
    lines = text.splitlines()
    functions = [
        node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    fixtures = {node.name: node for node in functions if "fixture" in _decorators(node)}
    for node in fixtures.values():
        first = node.decorator_list[0].lineno - 1
        lines[first : node.end_lineno] = [""] * ((node.end_lineno or 0) - first)
    asked = {
        argument.arg for node in functions if node.name.startswith("test_") for argument in node.args.args
    }
    for name in sorted(asked & set(fixtures)):
        lines += ["", "", "@pytest.fixture", f"def {name}({session}):", f"    return {session}"]
    return "\n".join([*lines, ""])


def _decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return " ".join(ast.unparse(each) for each in node.decorator_list)


@contextmanager
def database(admin: URL, *, tables: bool = True) -> Iterator[URL]:
    """A new database for as long as the block.

    Args:
        admin: The server, with the driver that the URL is to have.
        tables: It has the programs' tables.
    """
    name = "lab"
    with psycopg.connect(conninfo(admin), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            if tables:
                with psycopg.connect(conninfo(admin.set(database=name)), autocommit=True) as own:
                    own.execute((PROGRAMS / "schema.sql").read_text())
            yield admin.set(database=name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
