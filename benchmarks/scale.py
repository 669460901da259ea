"""Greenroom at scale: more workers than cores, thousands of tables, hundreds of revisions, a template of gigabytes.

Nothing here is compared with other ways. What counts is that nothing grows with the square, and that nothing waits without an end:

    python -m benchmarks.scale
    python -m benchmarks.scale --rows=200000 workers template
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from benchmarks import suites
from benchmarks.resets import Place, insert, statements
from benchmarks.server import running
from greenroom.database.rewind.prepare import prepare
from greenroom.database.rewind.rewinder import Rewinder
from greenroom.urls import conninfo

WORKERS: Final = ((2000, 2), (2000, 8), (2000, 16), (10000, 8))
"""How many tests, over how many workers."""

TABLES: Final = (20, 500, 3000)

REVISIONS: Final = (20, 200)

TOUCHED: Final = 3

ENV: Final = """
from alembic import context
from sqlalchemy import create_engine
import os

engine = create_engine(os.environ["DATABASE_URL"].replace("+asyncpg", "+psycopg"))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

REVISION: Final = """
from alembic import op

revision, down_revision = "{number:04}", {before}

def upgrade():
    op.execute("CREATE TABLE t{number} (id serial PRIMARY KEY, name text)")

def downgrade():
    op.execute("DROP TABLE t{number}")
"""

PROJECT: Final = """
[tool.greenroom]
app = "main:app"
{schema}
"""

APP: Final = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""

TESTS: Final = """
import pytest
from sqlalchemy import text

@pytest.mark.parametrize("number", range(20))
def test_it(session, number):
    assert session.scalar(text("SELECT count(*) FROM t{table} WHERE name = 'mine'")) == 0
    session.execute(text("INSERT INTO t{table} (name) VALUES ('mine')"))
    session.commit()
"""


def workers(admin: URL, _rows: int) -> Iterator[str]:
    """The suite of API tests of the other benchmarks, over more and more workers on this machine's cores."""
    for tests, count in WORKERS:
        run = suites.run(suites.GREENROOM, admin, tests=tests, workers=count)
        tenth = len(run.test) // 10
        first, last = (statistics.median(part) * 1000 for part in (run.test[:tenth], run.test[-tenth:]))
        yield (
            f"{tests} tests, -n {count}: {run.whole:.1f} s, {run.whole / tests * 1000:.2f} ms a test; "
            f"between two ends {first:.2f} ms in the first tenth, {last:.2f} ms in the last"
        )


def tables(admin: URL, _rows: int) -> Iterator[str]:
    """A rewind of three tables among many."""
    base = None
    for count in TABLES:
        place = Place(admin, f"scale_{count}")
        place.on_server(f"CREATE DATABASE {place.name}")
        with place.connect() as connection:
            # One by one: a transaction has locks for so many tables only.
            for statement in statements(count).split(";"):
                if statement.strip():
                    connection.execute(statement)
            began = time.perf_counter()
            prepare(place.url)
            prepared = time.perf_counter() - began
            rewinder = Rewinder(place.url)
            took = []
            for _ in range(200):
                with connection.transaction():
                    for number in range(TOUCHED):
                        connection.execute(insert(number))
                start = time.perf_counter()
                rewinder.rewind()
                took.append(time.perf_counter() - start)
            rewinder.close()
        place.on_server(f"DROP DATABASE {place.name} WITH (FORCE)")
        median = statistics.median(took)
        base = base or median
        yield f"{count} tables: rewind {median * 1000:.3f} ms ({median / base:.2f} ×), prepared in {prepared:.2f} s"


def revisions(admin: URL, _rows: int) -> Iterator[str]:
    """A template from many revisions, and the look at a template that is up to date."""
    for count in REVISIONS:
        with project('alembic = "alembic.ini"') as folder:
            (folder / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
            (folder / "migrations/versions").mkdir(parents=True)
            (folder / "migrations/env.py").write_text(ENV)
            for number in range(count):
                before = f'"{number - 1:04}"' if number else None
                text = REVISION.format(number=number, before=before)
                (folder / f"migrations/versions/{number:04}.py").write_text(text)
            (folder / "test_it.py").write_text(TESTS.replace("{table}", "0"))
            build, look = timed(folder, admin, "migrate"), timed(folder, admin, "migrate")
            run = tested(folder, admin)
            timed(folder, admin, "down")
        yield f"{count} revisions: template {build:.2f} s, up to date {look:.2f} s, 20 tests {run:.2f} s"


def template(admin: URL, rows: int) -> Iterator[str]:
    """A template with many rows of a kilobyte each."""
    for count in (0, rows):
        with project('sql = ["schema.sql"]') as folder:
            (folder / "schema.sql").write_text(
                "CREATE TABLE t0 (id bigserial PRIMARY KEY, name text);\n"
                f"INSERT INTO t0 (name) SELECT repeat(md5(n::text), 31) FROM generate_series(1, {count}) AS n;\n"
            )
            (folder / "test_it.py").write_text(
                TESTS.replace("{table}", "0").replace("WHERE name = 'mine'", "WHERE id < 0")
            )
            build = timed(folder, admin, "migrate")
            one, two = tested(folder, admin), tested(folder, admin, "-n", "2")
            timed(folder, admin, "down")
        yield f"{count} rows of 1 kB: template {build:.1f} s, 20 tests {one:.1f} s, over two workers {two:.1f} s"


PARTS: Final[dict[str, Callable[[URL, int], Iterator[str]]]] = {
    each.__name__: each for each in (workers, tables, revisions, template)
}


@contextlib.contextmanager
def project(schema: str) -> Iterator[Path]:
    """A project of its own with a schema."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text(PROJECT.format(schema=schema))
        (folder / "main.py").write_text(APP)
        yield folder


def timed(folder: Path, admin: URL, *words: str) -> float:
    """The seconds of a command of greenroom's.

    Raises:
        CalledProcessError: It failed.
    """
    return _timed([sys.executable, "-m", "greenroom", "-q", *words], folder, admin)


def tested(folder: Path, admin: URL, *words: str) -> float:
    """The seconds of a run of the project's tests.

    Raises:
        CalledProcessError: They did not pass.
    """
    plugins = ["-p", "greenroom.plugin", "-p", "xdist.plugin", "-p", "no:cacheprovider"]
    return _timed([sys.executable, "-m", "pytest", "-q", *plugins, *words], folder, admin)


def _timed(command: list[str], folder: Path, admin: URL) -> float:
    env = os.environ | {
        "GREENROOM_SERVER_URL": conninfo(admin),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": f"{folder}:{suites.ROOT}",
    }
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, check=True, timeout=1800)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these, of: {', '.join(PARTS)}")
    parser.add_argument(
        "--rows",
        type=int,
        default=2_000_000,
        help="rows of a kilobyte in the large template (default: 2,000,000)",
    )
    options = parser.parse_args()
    if unknown := {*options.parts} - {*PARTS}:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    with running() as server:
        for name, part in PARTS.items():
            if not options.parts or name in options.parts:
                print(f"{name}: {(part.__doc__ or '').splitlines()[0]}", flush=True)
                for line in part(server.admin, options.rows):
                    print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
