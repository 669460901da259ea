"""Errors that the application catches itself are explained below the assertion that fails because of them."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project

TITLE = "greenroom: what the application raised"

MODULE = """
from __future__ import annotations

import asyncio
import logging

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import selectinload

from shop.main import SessionDependency, app, new_session
from shop.models import Customer

log = logging.getLogger("shop")
log.propagate = False


@app.exception_handler(SQLAlchemyError)
async def database_error(request: Request, error: SQLAlchemyError) -> JSONResponse:
    return JSONResponse({"detail": "database error"}, 500)


@app.middleware("http")
async def guard(request: Request, call_next):
    try:
        return await call_next(request)
    except Exception:
        return JSONResponse({"detail": "oops"}, 500)


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    orders: list[int]


async def first(session):
    return (await session.scalars(select(Customer))).one()


@app.get("/handled")
async def handled(session: SessionDependency):
    customer = await first(session)
    return len(customer.orders)


@app.get("/guarded")
async def guarded(session: SessionDependency):
    return first(session).orders


@app.get("/tried")
async def tried():
    try:
        async with new_session() as session:
            customer = await first(session)
        return len(customer.orders)
    except Exception as error:
        return {"error": str(error)}


@app.get("/translated")
async def translated(session: SessionDependency):
    customer = await first(session)
    try:
        return len(customer.orders)
    except Exception as error:
        raise HTTPException(500, "no") from error


@app.get("/logged")
async def logged(session: SessionDependency):
    try:
        return first(session).orders
    except Exception:
        log.exception("no orders")
        return JSONResponse({}, 500)


@app.get("/response", response_model=Out)
async def response(session: SessionDependency):
    return await first(session)


@app.get("/swallowed")
async def swallowed(session: SessionDependency):
    try:
        await session.execute(text("SELECT nothing"))
    except SQLAlchemyError:
        pass
    try:
        await session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return JSONResponse({}, 500)


@app.get("/twice")
async def twice():
    async with new_session() as session:
        customer = await first(session)
        try:
            return len(customer.orders)
        except SQLAlchemyError:
            pass
    try:
        return len(customer.orders)
    except SQLAlchemyError:
        return JSONResponse({}, 500)


@app.get("/task")
async def task(session: SessionDependency):
    async def work():
        customer = await first(session)
        return len(customer.orders)

    (result,) = await asyncio.gather(asyncio.create_task(work()), return_exceptions=True)
    return JSONResponse({}, 500 if isinstance(result, Exception) else 200)


@app.get("/taken/{name}")
async def taken(name: str, session: SessionDependency):
    session.add(Customer(name=name))
    await session.commit()


@app.get("/by-hand")
async def by_hand():
    raise RuntimeError("Event loop is closed")


@app.get("/fine")
async def fine(session: SessionDependency):
    customer = (await session.scalars(select(Customer).options(selectinload(Customer.orders)))).one()
    return len(customer.orders)
"""

CONFTEST = """
import pytest
from shop.caught import app
from shop.models import Customer, Order

@pytest.fixture
def customer(session):
    session.add(Customer(name="a", orders=[Order()]))
    session.commit()
"""


@pytest.fixture
def catching(project: Project) -> Project:
    """A project whose application catches all that is raised in it."""
    project.write("shop/caught.py", MODULE)
    project.write("conftest.py", CONFTEST)
    project.replace("pyproject.toml", "shop.main:app", "shop.caught:app")
    return project


def line(text: str) -> int:
    """The first line of the module that has a text."""
    return next(number for number, each in enumerate(MODULE.lstrip("\n").splitlines(), 1) if text in each)


def after(text: str, within: str) -> int:
    """The first line with a text below the one that has another."""
    lines = MODULE.lstrip("\n").splitlines()
    start = line(within)
    return next(number for number, each in enumerate(lines, 1) if number > start and text in each)


@pytest.mark.parametrize(
    ("path", "kind", "said", "where", "caught"),
    [
        ("handled", "MissingGreenlet", "Customer.orders was read before", "len(customer", "database_error"),
        ("guarded", "AttributeError", "a coroutine was used before it was awaited", "first(", "guard"),
        ("tried", "DetachedInstanceError", "Customer.orders was read after", "len(customer", "tried"),
        ("translated", "MissingGreenlet", "Customer.orders was read before", "len(customer", "translated"),
        ("logged", "AttributeError", "a coroutine was used before it was awaited", "first(", "logged"),
        (
            "swallowed",
            "DBAPIError",
            "an earlier statement of this transaction failed",
            "SELECT 1",
            "swallowed",
        ),
        ("task", "MissingGreenlet", "Customer.orders was read before", "len(customer", "work"),
    ],
)
def test_caught(catching: Project, path: str, kind: str, said: str, where: str, caught: str) -> None:
    """What a handler, a middleware, a `try`, a log or another task has caught is explained, and who caught it is said."""
    catching.write(
        "tests/test_it.py",
        f"""
        def test_it(client, customer):
            assert client.get("/{path}").status_code == 201
    """,
    )
    result = catching.pytest("-p", "no:randomly")
    result.assert_outcomes(failed=1)
    place = f"shop/caught.py:{after(where, f'async def {path}(')}"
    result.stdout.fnmatch_lines(
        [
            "E*assert *00 == 201",
            f"*- {TITLE} -*",
            f"GET /{path}: the application raised {kind} at {place},",
            f"caught by the application in {caught}(), shop/caught.py:*, so that the test has seen a response only.",
            f"{place}: *{said}*",
        ]
    )
    assert result.stdout.str().count("more: docs/faq.md") == 1


def test_response_model(catching: Project) -> None:
    """What pydantic has read for a response is told once, by its own error, and not a second time by SQLAlchemy's."""
    catching.write(
        "tests/test_it.py",
        """
        def test_it(client, customer):
            assert client.get("/response").status_code == 200
    """,
    )
    result = catching.pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*- {TITLE} -*", "*pydantic read Customer.orders before it was loaded*"])
    assert result.stdout.str().count(": pydantic read") == 1
    result.stdout.no_fnmatch_line("*It caught more*")


def test_one_cause(catching: Project) -> None:
    """Of several errors the first is explained, and the others are named in a line each."""
    catching.write(
        "tests/test_it.py",
        """
        def test_it(client, customer):
            assert client.get("/twice").status_code == 200
    """,
    )
    result = catching.pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*MissingGreenlet: Customer.orders was read before it was loaded",
            "It caught more after that, which may follow from it:",
            "  shop/caught.py:*DetachedInstanceError: Customer.orders was read after*(GET /twice)",
        ]
    )
    assert result.stdout.str().count("more: docs/faq.md") == 1


def test_fixture(catching: Project) -> None:
    """What a fixture's request has raised explains the test, and nothing explains the test after it."""
    catching.write(
        "tests/test_it.py",
        """
        import pytest

        @pytest.fixture
        def got(client, customer):
            return client.get("/handled")

        def test_it(got):
            assert got.status_code == 200

        def test_next(client):
            assert client.get("/customers").json() == ["a"]
    """,
    )
    result = catching.pytest("-p", "no:randomly")
    result.assert_outcomes(failed=2)
    assert result.stdout.str().count(TITLE) == 1


def test_error_of_the_test_too(catching: Project) -> None:
    """Where the test's own error is explained, that is the explanation, and what was caught before it is one line."""
    catching.write(
        "tests/test_it.py",
        """
        from sqlalchemy import select
        from shop.models import Customer

        def test_it(client, customer, run, async_session):
            client.get("/tried")
            found = run(async_session.scalars(select(Customer))).one()
            found.orders
    """,
    )
    result = catching.pytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- greenroom: why this failed -*",
            "tests/test_it.py:*MissingGreenlet: Customer.orders was read before it was loaded",
            "Before that, the application caught what this may follow from; then mend that first:",
            "  shop/caught.py:*DetachedInstanceError*(GET /tried)",
        ]
    )
    result.stdout.no_fnmatch_line(f"*{TITLE}*")


SILENT = {
    "by hand": 'assert client.get("/by-hand").status_code == 200',
    "an answer": 'client.get("/taken/a")\n    assert client.get("/fine").json() == 2',
    "nothing": 'assert client.get("/fine").json() == 2',
    "expected by the test": """
    async def read():
        async with new_session() as session:
            return (await session.scalars(select(Customer))).one().orders
    with pytest.raises(MissingGreenlet):
        run(read())
    assert False""",
    "expected in the test's coroutine": """
    async def read():
        async with new_session() as session:
            with pytest.raises(MissingGreenlet):
                (await session.scalars(select(Customer))).one().orders
    run(read())
    assert False""",
    "an earlier test's": "assert False",
}


@pytest.mark.parametrize("body", SILENT.values(), ids=SILENT.keys())
def test_not_caught(catching: Project, body: str) -> None:
    """Nothing is said of what the test expects, of what an application answers on purpose, or of an error made by hand."""
    catching.write(
        "tests/test_it.py",
        "import pytest\nfrom sqlalchemy import select\nfrom sqlalchemy.exc import MissingGreenlet\n"
        "from shop.main import new_session\nfrom shop.models import Customer\n\n"
        "def test_before(client, customer):\n    assert client.get('/handled').status_code == 500\n\n"
        f"def test_it(client, customer, run):\n    {body}\n",
    )
    result = catching.pytest("-p", "no:randomly")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.no_fnmatch_line(f"*{TITLE}*")
    result.stdout.no_fnmatch_line("*more: docs/faq.md*")


def test_lazy_loads_fail(catching: Project) -> None:
    """With `lazy_loads = "fail"` a test fails for a lazy load that the application has caught, even if its assertions hold."""
    catching.replace("pyproject.toml", "[tool.greenroom]\n", '[tool.greenroom]\nlazy_loads = "fail"\n')
    catching.write(
        "tests/test_it.py",
        """
        import pytest

        def test_it(client, customer):
            assert client.get("/handled").status_code == 500

        def test_another_error(client, customer):
            assert client.get("/swallowed").status_code == 500

        @pytest.mark.lazy_loads("allow")
        def test_allowed(client, customer):
            assert client.get("/handled").status_code == 500
    """,
    )
    result = catching.pytest()
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        [
            "greenroom: GET /handled: the application raised MissingGreenlet at shop/caught.py:*",
            "shop/caught.py:*Customer.orders was read before it was loaded",
        ]
    )
    assert result.stdout.str().count("more: docs/faq.md") == 1


def test_another_error_with_lazy_loads_fail(catching: Project) -> None:
    """Errors that are no lazy loads are explained as ever: those of a fixture's request, too, and only if a test fails."""
    catching.replace("pyproject.toml", "[tool.greenroom]\n", '[tool.greenroom]\nlazy_loads = "fail"\n')
    catching.write(
        "tests/test_it.py",
        """
        import sys

        import pytest

        @pytest.fixture
        def got(client):
            return client.get("/swallowed")

        def test_passes(got):
            assert got.status_code == 500

        def test_nothing_is_imported():
            assert not [name for name in sys.modules if name.startswith("greenroom.explain")]

        def test_fails(got):
            assert got.status_code == 200
    """,
    )
    result = catching.pytest("-p", "no:randomly")
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*_ test_fails _*", f"*{TITLE}*", "*caught by the application*"])


def test_loop_of_a_caught_error(catching: Project) -> None:
    """The frames of a caught error do not reach greenroom's loop; two tasks on one session are still that, also from a thread."""
    catching.write(
        "shop/tasks.py",
        """
        import asyncio

        from anyio import from_thread
        from sqlalchemy import text

        from shop.main import app, new_session


        async def both():
            async with new_session() as session:
                await session.execute(text("SELECT 1"))
                await asyncio.gather(session.execute(text("SELECT pg_sleep(0.1)")), session.commit())


        @app.get("/tasks")
        async def get_tasks():
            await both()


        @app.get("/from-thread")
        def get_from_thread():
            from_thread.run(both)
        """,
    )
    catching.write(
        "tests/test_it.py",
        """
        import shop.tasks
        import pytest

        @pytest.mark.parametrize("path", ["tasks", "from-thread"])
        def test_it(client, path):
            assert client.get(f"/{path}").status_code == 200
        """,
    )
    result = catching.pytest("tests/test_it.py")
    # What the tasks have left behind fails the teardown as well.
    assert result.parseoutcomes()["failed"] == 2
    output = result.stdout.str()
    assert output.count("#another-operation-is-in-progress") == 2
    assert "#different-loop" not in output
