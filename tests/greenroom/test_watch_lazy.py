"""`lazy_loads = "fail"`: lazy loads on the application's side fail, also where they would work."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project

MODULE = """
from __future__ import annotations

import os

from fastapi import Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, selectinload

from shop.main import SessionDependency, app, get_session
from shop.models import Customer, Order

sync_engine = create_engine(os.environ["DATABASE_URL"].replace("asyncpg", "psycopg"))


def count(session: Session) -> int:
    customer = session.scalars(select(Customer)).one()
    return len(customer.orders)


def name_after_commit(session: Session) -> str:
    customer = session.scalars(select(Customer)).one()
    session.commit()
    session.expire(customer)
    return customer.name


@app.get("/run-sync")
async def get_run_sync(session: SessionDependency) -> int:
    return await session.run_sync(count)


@app.get("/expired")
async def get_expired(session: SessionDependency) -> str:
    return await session.run_sync(name_after_commit)


@app.get("/thread")
def get_thread() -> int:
    with Session(sync_engine) as session:
        return count(session)


class OrderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int


class CustomerOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    orders: list[OrderOut]


def get_sync_session():
    with Session(sync_engine) as session:
        yield session


@app.get("/model", response_model=CustomerOut)
def get_model(session: Session = Depends(get_sync_session)):
    return session.scalars(select(Customer)).one()


@app.get("/awaited")
async def get_awaited(session: SessionDependency) -> int:
    customer = (await session.scalars(select(Customer))).one()
    return len(await customer.awaitable_attrs.orders)


@app.get("/refreshed")
async def get_refreshed(session: SessionDependency) -> int:
    customer = (await session.scalars(select(Customer))).one()
    await session.refresh(customer)
    await session.refresh(customer, attribute_names=["orders"])
    return len(customer.orders)


@app.get("/loaded")
async def get_loaded(session: SessionDependency) -> int:
    customer = (await session.scalars(select(Customer).options(selectinload(Customer.orders)))).one()
    return len(customer.orders)


@app.get("/flushed")
async def get_flushed(session: SessionDependency) -> int:
    order = (await session.scalars(select(Order).limit(1))).one()
    await session.delete(order)
    await session.commit()
    return 1
"""

ASYNC_ATTRS = """\
try:
    from sqlalchemy.ext.asyncio import AsyncAttrs
except ImportError:  # before SQLAlchemy 2.0.13
    class AsyncAttrs: ...
"""

TESTS = """
import pytest
import shop.more
from sqlalchemy.exc import MissingGreenlet
from shop.models import Customer, Order

@pytest.fixture(autouse=True)
def customer(session):
    session.add(Customer(name="Ada", orders=[Order(), Order()]))
    session.commit()
"""


@pytest.fixture
def lazy(project: Project) -> Project:
    """A project with all kinds of lazy loads, which forbids them."""
    project.write("shop/more.py", MODULE)
    project.replace(
        "shop/models.py", "class Base(DeclarativeBase)", "class Base(AsyncAttrs, DeclarativeBase)"
    )
    project.replace(
        "shop/models.py",
        "from sqlalchemy.orm",
        ASYNC_ATTRS + "from sqlalchemy.orm",
    )
    project.replace("pyproject.toml", "seed =", 'lazy_loads = "fail"\nseed =')
    return project


@pytest.mark.parametrize("path", ["/run-sync", "/thread"])
def test_lazy_load_that_works(lazy: Project, path: str) -> None:
    """A lazy load in `run_sync`, or of a synchronous session in a thread, fails and names the attribute, line and fixes."""
    lazy.write(
        "tests/test_it.py",
        TESTS
        + f"""
def test_it(client):
    client.get("{path}")

@pytest.mark.lazy_loads("allow")
def test_that_may(client):
    assert client.get("{path}").json() == 2
""",
    )
    result = lazy.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines([
        "E *LazyLoadError: `Customer.orders` was loaded lazily: a relationship that was not loaded",
        "E *shop/more.py:19: return len(customer.orders)",
        "E *select(Customer).options(selectinload(Customer.orders))",
        "E *await session.refresh(customer, attribute_names=*)",
        "E *more: docs/faq.md#lazy-load, or: greenroom explain --about lazy-load",
    ])  # fmt: skip


def test_expired_attribute(lazy: Project) -> None:
    """So does an attribute that has expired; the fix is another one."""
    lazy.write("tests/test_it.py", TESTS + '\ndef test_it(client):\n    client.get("/expired")\n')
    result = lazy.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "E *LazyLoadError: `Customer.name` was loaded lazily: an attribute that has expired",
        "E *shop/more.py:26: return customer.name",
        "E *expire_on_commit=False)",
    ])  # fmt: skip


def test_response_model(lazy: Project) -> None:
    """So does a response model that reads a relationship; whatever error the framework makes of that."""
    lazy.write("tests/test_it.py", TESTS + '\ndef test_it(client):\n    client.get("/model")\n')
    result = lazy.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "*`Customer.orders` was loaded lazily*",
        "*no line of the project's own: where a response is made of the model",
    ])  # fmt: skip


def test_what_is_no_lazy_load(lazy: Project) -> None:
    """What the code says explicitly is allowed, and the test's own session may load lazily.

    A lazy load in a coroutine raises MissingGreenlet, as it does in production.
    """
    lazy.passes(
        TESTS
        + """
@pytest.mark.parametrize("path", ["/awaited", "/refreshed", "/loaded"])
def test_explicit(client, path):
    if path == "/awaited" and not hasattr(Customer, "awaitable_attrs"):
        return  # before SQLAlchemy 2.0.13 there is no such thing
    assert client.get(path).json() == 2

def test_flush(client):
    assert client.get("/flushed").json() == 1

def test_own_session(client, session):
    assert client.get("/loaded").json() == 2
    session.expire_all()
    customer = session.query(Customer).one()
    assert len(customer.orders) == 2
    assert customer.orders[0].customer.name == "Ada"

def test_own_session_in_a_coroutine(run, session):
    customer = session.query(Customer).one()
    session.expire_all()
    async def read():
        return len(customer.orders), customer.name
    assert run(read()) == (2, "Ada")

def test_coroutine(client):
    with pytest.raises(MissingGreenlet):
        client.get("/lazy")
"""
    )


def test_allowed_unless_it_is_forbidden(lazy: Project) -> None:
    """By default lazy loads are allowed; a marker forbids them in one test."""
    lazy.replace("pyproject.toml", 'lazy_loads = "fail"\n', "")
    lazy.write(
        "tests/test_it.py",
        TESTS
        + """
def test_default(client):
    assert client.get("/run-sync").json() == 2

@pytest.mark.lazy_loads("fail")
def test_marked(client):
    client.get("/run-sync")
""",
    )
    lazy.pytest("tests/test_it.py").assert_outcomes(failed=1, passed=1)


def test_marker_that_says_nothing(project: Project) -> None:
    """A marker without one of its settings is refused before any test runs, and so is such a key."""
    project.write("tests/test_it.py", "import pytest\n\n@pytest.mark.lazy_loads\ndef test_it(): pass\n")
    result = project.pytest("tests/test_it.py")
    result.stderr.fnmatch_lines(["*the marker lazy_loads takes one of 'allow', 'fail'. Found: nothing*"])
    project.replace("pyproject.toml", "seed =", 'lazy_loads = "never"\nseed =')
    result = project.pytest("tests/test_it.py")
    result.stderr.fnmatch_lines(['*lazy_loads must be "allow" or "fail". Found: \'never\'.*'])
