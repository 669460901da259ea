"""The project `explained`: each known error is provoked in it, for real. `python -m tests.greenroom.explained` makes the table.

It runs the project with both drivers on the SQLAlchemy that is installed and, as scripts/explained-errors calls it, on one
of 2.0 as well, and writes docs/explained-errors.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = Path(__file__).parent / "projects" / "explained"
TABLE: Final = Path(__file__).parents[2] / "docs" / "explained-errors.md"
DRIVERS: Final = ("asyncpg", "psycopg")
TITLES: Final = ("greenroom: why this failed", "greenroom: what the application raised")


class Case(NamedTuple):
    """A test of the project that fails.

    Attributes:
        name: The test's, without `test_`.
        raised: What its error says, a regular expression.
        link: The section of docs/faq.md that the explanation names; empty if there is none.
        says: What stands in the explanation.
        here: What its line is marked with, `# here: …`; None if the explanation names no line.
        both: It fails with psycopg, too.
    """

    name: str
    raised: str
    link: str
    says: tuple[str, ...] = ()
    here: str | None = ""
    both: bool = True


GREENLET: Final = r"greenlet_spawn has not been called; can't call await_(?:only)?\(\) here"
LOOP: Final = r"got Future <Future pending.*> attached to a different loop"
BUSY: Final = "cannot perform operation: another operation is in progress"
STATE: Final = r"'State' object has no attribute '\w+'"
QUERY: Final = ".options(selectinload(Provider.connection))"
REFRESH: Final = 'await session.refresh(provider, attribute_names=["connection"])'

CASES: Final = (
    Case(
        "lazy_relationship",
        GREENLET,
        "lazy-load",
        ("Provider(id=1)", "vault/service.py:17", QUERY, REFRESH),
    ),
    Case("lazy_relationship_in_a_request", GREENLET, "lazy-load", (QUERY, REFRESH), "lazy_relationship"),
    Case(
        "lazy_relationship_got",
        GREENLET,
        "lazy-load",
        ("await session.get(Provider, key, options=[selectinload(Provider.connection)])",),
    ),
    Case(
        "lazy_relationships_in_a_loop",
        GREENLET,
        "lazy-load",
        (
            "select(Connection).options(selectinload(Connection.tokens))",
            "await connection.awaitable_attrs.tokens",
        ),
    ),
    Case(
        "lazy_relationship_of_a_new_object",
        GREENLET,
        "lazy-load",
        ("made by its constructor", "Connection(…, tokens=[])"),
    ),
    Case(
        "lazy_relationship_in_the_test",
        GREENLET,
        "lazy-load",
        (
            "run(async_session.get(Provider, provider, options=[selectinload(Provider.connection)]))",
            'run(async_session.refresh(found, attribute_names=["connection"]))',
        ),
    ),
    Case("lazy_relationship_in_a_fixture", GREENLET, "lazy-load", ("`found.connection`",)),
    Case("lazy_relationship_in_a_teardown", GREENLET, "lazy-load", ("`found.connection`",)),
    Case(
        "expired_by_commit",
        GREENLET,
        "expired-attribute",
        ("expire_on_commit=True", "async_sessionmaker(engine, expire_on_commit=False)"),
    ),
    Case("expired_by_rollback", GREENLET, "expired-attribute", ("It was not commit()",)),
    Case(
        "expired_by_the_database",
        GREENLET,
        "expired-attribute",
        ("Provider.changed", '"eager_defaults": True'),
    ),
    Case("deferred_column", GREENLET, "deferred-column", ("options(undefer(Provider.notes))",)),
    Case("synchronous_call", GREENLET, "synchronous-call", ("session.sync_session.scalars(",)),
    Case(
        "create_engine_on_an_asynchronous_url",
        GREENLET,
        "create-engine-on-an-asynchronous-url",
        ("create_async_engine(url)",),
    ),
    Case(
        "response_model",
        "'type': 'get_attribute_error', 'loc': .'response', 'connection'.",
        "response-model",
        ("Provider.connection", QUERY),
        "response_model",
    ),
    Case("validated_by_pydantic", "Error extracting attribute: ", "response-model", (QUERY, REFRESH)),
    Case("swallowed_by_the_server", "assert 500 == 200", "lazy-load", ("GET /providers/a/connected",), None),
    Case("swallowed_and_unknown", "assert 500 == 200", "", ("GET /broken", "LookupError: broken"), None),
    Case(
        "different_loop",
        LOOP,
        "different-loop",
        ("another loop, which does not run at the moment", "`asyncio.run()`", "run(select_one(own))"),
        "select_one",
        both=False,
    ),
    Case(
        "event_loop_is_closed",
        "Event loop is closed",
        "different-loop",
        ("a loop that is closed by now",),
        "select_one",
        both=False,
    ),
    Case(
        "another_operation_is_in_progress",
        BUSY,
        "different-loop",
        ("half-way", "a loop that is closed by now"),
        "select_one",
        both=False,
    ),
    Case(
        "another_operation_on_another_loop",
        BUSY,
        "different-loop",
        ("another loop, which does not run at the moment",),
        "select_one",
        both=False,
    ),
    Case("two_tasks_on_one_session", BUSY, "another-operation-is-in-progress", ("two tasks",), both=False),
    Case(
        "queue_bound_to_a_different_event_loop",
        "<Queue at .*> is bound to a different event loop",
        "queue-bound-to-a-different-event-loop",
        ("a loop that is closed by now",),
        "connect",
    ),
    Case(
        "lock_bound_to_a_different_event_loop",
        r"Lock object at .*> is bound to a different event loop",
        "queue-bound-to-a-different-event-loop",
        ("asyncio.Lock", "greenroom's loop, the application's"),
    ),
    Case("future_of_a_different_event_loop", LOOP, "different-loop", ("`await future`",)),
    Case(
        "running_event_loop",
        r"asyncio\.run\(\) cannot be called from a running event loop",
        "running-event-loop",
        ("await select_one(engine)",),
    ),
    Case(
        "detached_relationship",
        "lazy load operation of attribute 'connection' cannot proceed",
        "detached-instance",
        ("Provider.connection", QUERY),
    ),
    Case(
        "detached_and_expired",
        "attribute refresh operation cannot proceed",
        "detached-instance",
        ("expire_on_commit=False",),
    ),
    Case(
        "detached_in_the_synchronous_session",
        "lazy load operation of attribute 'connection' cannot proceed",
        "detached-instance",
    ),
    Case(
        "pending_rollback",
        "This Session's transaction has been rolled back due to a previous exception during flush",
        "pending-rollback",
        ("IntegrityError", "async with session.begin_nested()", "await session.rollback()"),
    ),
    Case(
        "failed_transaction", "current transaction is aborted", "failed-transaction", ("async with session",)
    ),
    Case(
        "failed_transaction_in_the_synchronous_session",
        "current transaction is aborted",
        "failed-transaction",
        ("    with session.begin_nested()", "    session.rollback()"),
    ),
    Case("closed_transaction", "This transaction is closed", "resource-closed", ("create_savepoint",)),
    Case(
        "closed_connection", "This Connection is closed", "resource-closed", ("async with engine.connect()",)
    ),
    Case("closed_result", "This result object is closed", "resource-closed", ("`result.all()`",)),
    Case(
        "result_without_rows", "This result object does not return rows", "resource-closed", ("returning(",)
    ),
    Case(
        "queuepool_limit",
        "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 0.20",
        "queuepool-limit",
        ("`test_pools.small`",),
    ),
    Case(
        "garbage_collector",
        "The garbage collector is trying to clean up non-checked-in connection",
        "garbage-collector",
        here=None,
    ),
    Case(
        "lifespan_of_the_application", STATE, "lifespan-never-entered", ("a TestClient that was not entered",)
    ),
    Case("lifespan_of_the_request", STATE, "lifespan-never-entered", ("a TestClient that was not entered",)),
    Case(
        "lifespan_under_httpx",
        STATE,
        "lifespan-never-entered",
        ("httpx's ASGITransport",),
        "lifespan_of_the_request",
    ),
    Case(
        "coroutine_used",
        "'coroutine' object has no attribute 'name'",
        "never-awaited",
        ("`provider_named()` (defined at vault/service.py:12)", "run(provider_named(…))"),
    ),
    Case(
        "coroutine_subscripted",
        "'coroutine' object is not subscriptable",
        "never-awaited",
        ("`provider_named()`",),
    ),
    Case(
        "never_awaited",
        "coroutine 'create' was never awaited",
        "never-awaited",
        ("vault/service.py:38",),
        None,
    ),
    Case(
        "asynchronous",
        "async def functions are not natively supported",
        "async-def-tests",
        ("def test_asynchronous(run, async_session)",),
    ),
    Case(
        "asynchronous_fixture",
        "requested an async fixture 'asynchronous_fixture'",
        "async-def-tests",
        ("def asynchronous_fixture(run, async_session)",),
    ),
    Case(
        "create_all",
        "'AsyncEngine' object has no attribute '_run_ddl_visitor'",
        "asynchronous-engine-in-synchronous-code",
        ("run_sync(metadata.create_all)",),
    ),
    Case(
        "with_instead_of_async_with",
        "'AsyncConnection' object does not support the context manager protocol",
        "asynchronous-engine-in-synchronous-code",
        ("async with engine.connect()",),
    ),
)


class Outcome(NamedTuple):
    """What became of a test of the project.

    Attributes:
        error: The whole of pytest's report of its failures; empty if it passed.
        explanation: The explanation in it; empty if there is none.
    """

    error: str
    explanation: str


def line_of(here: str, root: Path = PROJECT) -> str:
    """The `file:line` that is marked so."""
    for file in sorted(root.rglob("*.py")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if line.endswith(f"# here: {here}"):
                return f"{file.relative_to(root)}:{number}"
    raise LookupError(here)


def run(
    root: Path, driver: str, *arguments: str, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Copy the project to a folder, and run all of it there.

    Args:
        root: The folder, not there yet.
        driver: Which of `DRIVERS` the application uses.
        arguments: More of them for pytest.
        path: A folder of packages to find before those that are installed.
    """
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns("__pycache__"))
    configuration = root / "pyproject.toml"
    configuration.write_text(configuration.read_text().replace("postgresql+asyncpg", f"postgresql+{driver}"))
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--junitxml=junit.xml", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # 1: tests have failed, as they should. Anything else is not what is looked at here.
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def outcomes(root: Path) -> dict[str, Outcome]:
    """What the tests of a run came to, by their names without `test_`."""
    found: dict[str, Outcome] = {}
    for case in ET.parse(root / "junit.xml").iter("testcase"):
        name = case.attrib["name"].removeprefix("test_")
        reports = [child.text or "" for child in case if child.tag in {"failure", "error"}]
        parts = [re.split(rf"-+ (?:{'|'.join(TITLES)}) -+\n", report, maxsplit=1) for report in reports]
        # The rewind of a test with a broken connection fails it a second time.
        own = next((part for part in parts if len(part) == 2), ["\n".join(reports), ""])
        before = found.get(name, Outcome("", ""))
        found[name] = Outcome(before.error + own[0], before.explanation + own[1])
    return found


def main(older: Path) -> None:
    """Write the table, with SQLAlchemy as it is installed and as it is in another folder."""
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        for path in (None, older):
            for driver in DRIVERS:
                root = Path(folder) / f"{driver}-{'older' if path else 'installed'}"
                done = run(root, driver, "-p", "no:randomly", path=path)
                print(done.stdout.splitlines()[-1], file=sys.stderr)
                columns.append((driver, _version(path), outcomes(root)))
    TABLE.write_text(table(columns))
    print(f"{TABLE.name} written", file=sys.stderr)


def table(columns: list[tuple[str, str, dict[str, Outcome]]]) -> str:
    """The page, from a driver, SQLAlchemy's minor version and the outcomes for each column."""
    heads = [f"{driver}, {version}" for driver, version, _ in columns]
    lines = [
        "# Explained errors",
        "",
        "Each of these errors is provoked, for real, by a test of the project tests/greenroom/projects/explained, with each driver",
        "and each version of SQLAlchemy. `scripts/explained-errors` writes this page, and tests/greenroom/test_explain.py checks it.",
        "",
        f"| error | {' | '.join(heads)} | section of [faq.md](faq.md) |",
        f"| --- |{' --- |' * len(heads)} --- |",
    ]
    for case in CASES:
        cells = [cell(results[case.name]) for _, _, results in columns]
        link = f"[{case.link}](faq.md#{case.link})" if case.link else ""
        lines.append(f"| {case.name.replace('_', ' ')} | {' | '.join(cells)} | {link} |")
    return "\n".join([*lines, ""])


def cell(outcome: Outcome) -> str:
    """One cell of the table."""
    return "explained" if outcome.explanation else "NOT EXPLAINED" if outcome.error else "does not occur"


def _version(path: Path | None) -> str:
    code = "import sqlalchemy; print(*sqlalchemy.__version__.split('.')[:2], sep='.')"
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
