"""How an explanation gets into a report, and what it never does: cost anything, or stand in the way."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET

import pytest

from greenroom.explain import explain
from tests.greenroom.conftest import Project

TITLE = "greenroom: why this failed"
SAYS = "main.py:*: MissingGreenlet: Customer.orders was read before it was loaded"

TESTS = """
    from shop.models import Customer, Order

    def test_lazy(client, session):
        session.add(Customer(name="a", orders=[Order()]))
        session.commit()
        client.get("/lazy")

    def test_another(client):
        assert client.get("/customers").json() == []
"""


@pytest.fixture
def lazy(project: Project) -> Project:
    """A project with a test that fails by a lazy load in the application, and one that passes."""
    project.write("tests/test_it.py", TESTS)
    return project


def junit(project: Project) -> str:
    """What JUnit's file says of the failure."""
    failures = list(ET.parse(project.root / "junit.xml").iter("failure"))
    assert len(failures) == 1
    return failures[0].text or ""


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native"])
def test_styles(lazy: Project, style: str) -> None:
    """The section stands below the traceback in each style, also without captured output, and in JUnit's file."""
    result = lazy.pytest(f"--tb={style}", "--show-capture=no", "--junitxml=junit.xml")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [f"*- {TITLE} -*", f"*{SAYS}", "", "`customer.orders` is a relationship of Customer(id=*"]
    )
    assert TITLE in junit(lazy)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_file_that_cannot_be_imported(project: Project, workers: str) -> None:
    """What a test file raises while it is imported is explained as well."""
    project.write(
        "tests/test_it.py",
        """
        import os

        from sqlalchemy import create_engine, text

        engine = create_engine(os.environ["DATABASE_URL"])
        with engine.connect() as connection:
            CUSTOMERS = connection.scalar(text("SELECT count(*) FROM customers"))

        def test_it(): pass
        """,
    )
    result = project.pytest(workers)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*MissingGreenlet: greenlet_spawn has not been called*", f"*- {TITLE} -*"])


def test_no_traceback(lazy: Project) -> None:
    """Who wants no tracebacks gets no more than that; JUnit's file has the section all the same."""
    result = lazy.pytest("--tb=no", "--junitxml=junit.xml")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.no_fnmatch_line(f"*{TITLE}*")
    assert TITLE in junit(lazy)


def test_workers(lazy: Project) -> None:
    """A worker's explanation arrives."""
    result = lazy.pytest("-n", "2")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([f"*- {TITLE} -*", f"*{SAYS}"])


def test_without_terminal(lazy: Project) -> None:
    """It works where nothing is printed."""
    result = lazy.pytest("-p", "no:terminal", "--junitxml=junit.xml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert TITLE in junit(lazy)


def test_expected_failure(lazy: Project) -> None:
    """A test that is expected to fail is not explained."""
    lazy.replace("tests/test_it.py", "def test_lazy", "@pytest.mark.xfail\ndef test_lazy")
    lazy.replace("tests/test_it.py", "from shop", "import pytest\nfrom shop")
    result = lazy.pytest("-rx")
    result.assert_outcomes(xfailed=1, passed=1)
    result.stdout.no_fnmatch_line(f"*{TITLE}*")


def test_nothing_is_imported(project: Project) -> None:
    """As long as no test fails, not even the modules that explain are imported."""
    project.write(
        "conftest.py",
        """
        import sys
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_sessionfinish():
            print("imported:", [name for name in sys.modules if name.startswith("greenroom.explain")])
        """,
    )
    result = project.passes("def test_it(client): assert client.get('/customers').status_code == 200", "-s")
    result.stdout.fnmatch_lines(["*imported: []"])


BROKEN = """
    from greenroom.explain.registry import RECOGNISERS, recogniser

    RECOGNISERS.clear()

    @recogniser("sqlalchemy.exc.MissingGreenlet", section="lazy-load")
    def broken(failure):
        raise LookupError("this is wrong with the explaining")
"""


def test_broken_explainer(lazy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the explaining leaves the report as it is without; GREENROOM_TRACEBACK=1 tells of it."""
    lazy.write("conftest.py", BROKEN)
    result = lazy.pytest("--tb=short")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E   sqlalchemy.exc.MissingGreenlet: greenlet_spawn has not been called*"])
    result.stdout.no_fnmatch_line("*this is wrong with the explaining*")

    monkeypatch.setenv("GREENROOM_TRACEBACK", "1")
    result = lazy.pytest("--tb=short")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([f"*- {TITLE} -*", "*LookupError: this is wrong with the explaining"])


def test_swallowed_belongs_to_its_test(lazy: Project) -> None:
    """What a client swallowed in one test is not told of another that fails for its own reason."""
    lazy.write(
        "tests/test_it.py",
        """
        def test_expects_it(make_client):
            assert make_client(raise_server_exceptions=False).get("/broken").status_code == 500

        def test_fails():
            assert 1 == 2
        """,
    )
    result = lazy.pytest()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.no_fnmatch_line("*what the application raised*")


async def starts_a_loop() -> None:
    """Raise a known error."""
    coroutine = asyncio.sleep(0)
    try:
        asyncio.run(coroutine)
    finally:
        coroutine.close()


def test_group() -> None:
    """A known error in a group is found, with its own line."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(starts_a_loop())

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(main())
    explanation = explain(raised.value)
    assert explanation is not None
    assert explanation.section == "running-event-loop"
    assert "`asyncio.run(coroutine)` starts an event loop" in explanation.render()


@pytest.mark.parametrize("suppressed", [False, True])
def test_behind_another(*, suppressed: bool) -> None:
    """A known error behind an exception of the application is found, also where that hides it."""

    async def get() -> None:
        try:
            await starts_a_loop()
        except RuntimeError as error:
            raise LookupError("the provider cannot be read") from None if suppressed else error

    with pytest.raises(LookupError) as raised:
        asyncio.run(get())
    explanation = explain(raised.value)
    assert explanation is not None
    assert explanation.where.startswith("tests/greenroom/test_explain_report.py:")


def test_two_assignments(lazy: Project) -> None:
    """Where the instance came from is said only if the source leaves no doubt."""
    lazy.replace(
        "shop/main.py",
        "    customer = (await session.scalars(select(Customer))).one()\n",
        "    customer = (await session.scalars(select(Customer))).one()\n"
        "    if not customer:\n"
        "        customer = (await session.scalars(select(Customer))).first()\n",
    )
    result = lazy.pytest()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([f"*{SAYS}"])
    result.stdout.no_fnmatch_line("*The instance comes from*")
