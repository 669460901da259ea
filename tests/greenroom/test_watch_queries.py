"""`n_plus_one`, the fixture `queries`, and who holds the connections of a pool."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project

MODULE = """
from __future__ import annotations

import asyncio

from fastapi import WebSocket
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session, selectinload

from shop.main import SessionDependency, app, engine, new_session
from shop.models import Country, Customer, Order


def totals(session: Session) -> list[int]:
    return [len(customer.orders) for customer in session.scalars(select(Customer))]


@app.get("/run-sync")
async def get_run_sync(session: SessionDependency) -> list[int]:
    return await session.run_sync(totals)


@app.get("/awaited")
async def get_awaited(session: SessionDependency) -> list[int]:
    customers = (await session.scalars(select(Customer))).all()
    return [len(await customer.awaitable_attrs.orders) for customer in customers]


@app.get("/looped")
async def get_loop(session: SessionDependency) -> list[str]:
    ids = (await session.scalars(select(Customer.id))).all()
    names = []
    for number in ids:
        names.append(await session.scalar(select(Customer.name).where(Customer.id == number)))
    return names


@app.get("/loaded")
async def get_loaded(session: SessionDependency) -> list[int]:
    customers = (await session.scalars(select(Customer).options(selectinload(Customer.orders)))).all()
    return [len(customer.orders) for customer in customers]


@app.post("/many")
async def post_many(session: SessionDependency) -> None:
    for number in range(5):
        async with session.begin_nested():
            await session.execute(insert(Customer).values(name=f"customer {number}"))
    await session.commit()


@app.get("/one")
async def get_one(session: SessionDependency) -> str:
    await asyncio.sleep(0.01)
    return await session.scalar(select(Customer.name).where(Customer.name == "Ada"))


async def named(session, name: str) -> str:
    return await session.scalar(select(Customer.name).where(Customer.name == name))


@app.get("/places")
async def get_places(session: SessionDependency) -> list[str]:
    first = await named(session, "Ada")
    second = await named(session, "Bo")
    return [first, second, await named(session, "Cy")]


@app.websocket("/names")
async def send_names(socket: WebSocket) -> None:
    await socket.accept()
    async with new_session() as session:
        while (number := await socket.receive_json()) is not None:
            name = await session.scalar(select(Customer.name).where(Customer.id == number))
            await socket.send_text(name)
    await socket.close()


async def names(session) -> list[str]:
    return list(await session.scalars(select(Customer.name).order_by(Customer.name)))
"""

TESTS = """
import pytest
import shop.more
from shop.models import Customer, Order

@pytest.fixture(autouse=True)
def customers(session):
    for name in "Ada", "Bo", "Cy", "Di":
        session.add(Customer(name=name, orders=[Order()]))
    session.commit()
"""


@pytest.fixture
def counting(project: Project) -> Project:
    """A project with requests that repeat queries, which fails tests for that."""
    project.write("shop/more.py", MODULE)
    project.replace(
        "shop/models.py", "class Base(DeclarativeBase)", "class Base(AsyncAttrs, DeclarativeBase)"
    )
    project.replace(
        "shop/models.py",
        "from sqlalchemy.orm",
        "from sqlalchemy.ext.asyncio import AsyncAttrs\nfrom sqlalchemy.orm",
    )
    project.replace("pyproject.toml", "seed =", 'n_plus_one = "fail"\nseed =')
    return project


def test_repeated_queries(counting: Project) -> None:
    """A request that loads one attribute again and again, or sends a query in a loop, fails the test and is named."""
    counting.write(
        "tests/test_it.py",
        TESTS
        + """
def test_lazy_loads(client):
    assert client.get("/run-sync").json() == [1, 1, 1, 1]

def test_awaited_attributes(client):
    assert client.get("/awaited").json() == [1, 1, 1, 1]

def test_loop(client):
    assert client.get("/looped").json() == ["Ada", "Bo", "Cy", "Di"]

def test_run(run):
    from shop.main import new_session
    async def several():
        async with new_session() as session:
            return await shop.more.get_loop(session)
    run(several())
""",
    )
    result = counting.pytest("tests/test_it.py")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines([
        "*_ test_lazy_loads _*",
        "greenroom: GET /run-sync loaded `Customer.orders` 4 times, with a query each (N+1)",
        "shop/more.py:14: return *len(customer.orders)*",
        "    SELECT orders.id*",
        "fix 1: load it for all of them with the query that loads the Customers:",
        "    select(Customer).options(selectinload(Customer.orders))",
        '    @pytest.mark.n_plus_one("off")',
        "more: docs/configuration.md#what-is-watched",
        "*_ test_awaited_attributes _*",
        "greenroom: GET /awaited loaded `Customer.orders` 4 times*",
        "*_ test_loop _*",
        "greenroom: GET /looped sent the same query 4 times (N+1)",
        "shop/more.py:33: names.append(await session.scalar(select(Customer.name).where(Customer.id == number)))",
        "    SELECT customers.name*",
        "*_ test_run _*",
        "greenroom: run(several) sent the same query 4 times (N+1)",
    ])  # fmt: skip


def test_what_is_no_repetition(counting: Project) -> None:
    """Batches, writes, other requests, also at the same time, and the test's own session are no N+1; nor is what is marked."""
    counting.passes(
        TESTS
        + """
from concurrent.futures import ThreadPoolExecutor
from sqlalchemy import event

def test_loaded(client):
    assert client.get("/loaded").json() == [1, 1, 1, 1]

def test_writes(client):
    assert client.post("/many").status_code == 200

def test_requests(client):
    for _ in range(5):
        assert client.get("/one").json() == "Ada"
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda _: client.get("/one").json(), range(5))) == ["Ada"] * 5

def test_a_function_called_in_several_places(client):
    assert client.get("/places").json() == ["Ada", "Bo", "Cy"]

def test_own_session(client, session):
    assert [len(customer.orders) for customer in session.query(Customer)] == [1, 1, 1, 1]
    for _ in range(5):
        session.query(Customer).count()

def test_own_session_in_a_coroutine(run, session, queries):
    async def read():
        return [session.query(Customer).count() for _ in range(5)]
    with queries() as sent:
        assert run(read()) == [4] * 5
    assert sent.count == 0

@pytest.mark.n_plus_one("off")
def test_marked(client):
    assert client.get("/looped").json() == ["Ada", "Bo", "Cy", "Di"]
"""
    )


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_pagination(counting: Project, driver: str) -> None:
    """A query that fetches some rows at a time may repeat; one that fetches a single row for each object may not."""
    counting.replace("pyproject.toml", "seed =", f'driver = "postgresql+{driver}"\nseed =')
    counting.write(
        "tests/test_it.py",
        TESTS
        + """
from shop.main import new_session
from shop.models import Customer
from sqlalchemy import select

async def pages(size):
    found, last = [], 0
    async with new_session() as session:
        query = select(Customer.id).order_by(Customer.id)
        while batch := (await session.scalars(query.where(Customer.id > last).limit(size))).all():
            found += batch
            last = batch[-1]
    return found

def test_two_at_a_time(run):
    assert len(run(pages(2))) == 4

def test_one_at_a_time(run):
    assert len(run(pages(1))) == 4
""",
    )
    result = counting.pytest("tests/test_it.py")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_one_at_a_time _*",
            "greenroom: run(pages) sent the same query 5 times (N+1)",
        ]
    )


def test_large_batches(counting: Project) -> None:
    """selectinload() asks in batches of 500, with one text: that is no N+1."""
    counting.passes(
        """
        import shop.more
        from sqlalchemy import insert
        from shop.models import Customer

        def test_it(client, session, queries):
            session.execute(insert(Customer), [{"name": str(number)} for number in range(1800)])
            session.commit()
            with queries() as sent:
                assert len(client.get("/loaded").json()) == 1800
            assert sent.count == 1 + 4
        """
    )


def test_settings(counting: Project) -> None:
    """A threshold, a warning in the place of a failure, off by default, and a marker for one test."""
    counting.write(
        "tests/test_it.py",
        TESTS
        + """
def test_default(client):
    client.get("/looped")

@pytest.mark.n_plus_one("warn")
def test_warned(client):
    client.get("/looped")

@pytest.mark.n_plus_one("fail")
def test_marked(client):
    client.get("/looped")
""",
    )
    counting.replace("pyproject.toml", '"fail"', '"fail"\nn_plus_one_threshold = 5')
    counting.pytest("tests/test_it.py").assert_outcomes(passed=3)
    counting.replace(
        "pyproject.toml", 'n_plus_one = "fail"\nn_plus_one_threshold = 5', "n_plus_one_threshold = 4"
    )
    result = counting.pytest("tests/test_it.py", "-W", "default")
    result.assert_outcomes(passed=2, failed=1, warnings=1)
    result.stdout.fnmatch_lines([
        "*test_it.py::test_warned",
        "*RepeatedQueriesWarning: GET /looped sent the same query 4 times (N+1)",
    ])  # fmt: skip


def test_queries(counting: Project) -> None:
    """`queries` records what the application sends in a block: statements, lines and attributes, and nothing else."""
    counting.passes(
        TESTS
        + """
from shop.main import new_session

@pytest.mark.n_plus_one("off")
def test_requests_and_run(client, session, run, async_session, queries):
    client.get("/one")
    with queries() as sent:
        session.query(Customer).count()
        assert client.get("/one").json() == "Ada"
        assert run(shop.more.names(async_session)) == ["Ada", "Bo", "Cy", "Di"]
    client.get("/one")
    assert sent.count == len(sent) == 2
    assert [query.where for query in sent] == ["shop/more.py:54", "shop/more.py:79"]
    assert sent.statements[0].startswith("SELECT customers.name")
    with queries() as sent:
        client.get("/run-sync")
    assert [query.attribute for query in sent] == ["", *["Customer.orders"] * 4]
    assert str(sent[1]).startswith("shop/more.py:14 (Customer.orders): SELECT orders.id")

def test_savepoints_do_not_count(client, queries):
    with queries() as outer:
        with queries() as sent:
            client.post("/many")
        client.get("/one")
    assert sent.count == 5
    assert outer.count == 6
"""
    )


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_first_connection(counting: Project, driver: str) -> None:
    """What SQLAlchemy asks the server on its own, when it connects for the first time, does not count."""
    counting.replace("pyproject.toml", "seed =", f'driver = "postgresql+{driver}"\nseed =')
    counting.passes(
        """
        def test_it(client, queries):
            with queries() as sent:
                client.get("/customers")
            assert sent.count == 1
        """
    )


def test_count_that_is_wrong(counting: Project) -> None:
    """A comparison with a count that fails tells which queries there were, equal ones once."""
    counting.write(
        "tests/test_it.py",
        TESTS
        + """
@pytest.mark.n_plus_one("off")
def test_it(client, queries):
    with queries() as sent:
        client.get("/run-sync")
    assert sent.count == 2
""",
    )
    result = counting.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "E *assert 5 == 2 queries; the application sent:",
        "E *1 × shop/more.py:14: SELECT customers.id*",
        "E *4 × shop/more.py:14 (Customer.orders): SELECT orders.id*",
    ])  # fmt: skip


def test_holders(counting: Project) -> None:
    """`holders` tells who has taken the connections of a pool: the line, the task, the test, and whether it has ended."""
    counting.passes(
        """
        import asyncio
        import shop.more
        from greenroom.watch import holders
        from shop.main import engine

        async def hold(held, enough):
            async with engine.connect():
                held.set()
                await enough.wait()

        def test_it(run, client):
            async def look():
                held, enough = asyncio.Event(), asyncio.Event()
                task = asyncio.create_task(hold(held, enough), name="slow")
                await held.wait()
                before = holders(engine.pool)
                enough.set()
                await task
                return before, holders(engine.pool)
            [holder], after = run(look())
            assert after == []
            assert holder.line.where == "tests/test_it.py:7"
            assert (holder.task, holder.ended) == ("slow", False)
            assert holder.test == "tests/test_it.py::test_it"
            assert 0 <= holder.seconds < 60
            assert str(holder).startswith("tests/test_it.py:7: async with engine.connect():, for ")

        def test_forgotten(run):
            async def forget():
                connection = await engine.connect()
                return connection
            connection = run(forget())
            [holder] = holders(engine.pool)
            assert holder.ended
            assert "which has ended, during tests/test_it.py::test_forgotten" in str(holder)
            run(connection.close())
            assert holders(engine.pool) == []

        def test_synchronous(engine):
            assert holders(engine.pool) == []
            with engine.connect():
                [holder] = holders(engine.pool)
                assert (holder.line.where, holder.task, holder.ended) == ("tests/test_it.py:41", "", False)
        """
    )


def test_max_queries(counting: Project) -> None:
    """A test that sends more queries than its marker allows fails with them, those of a line together."""
    counting.write(
        "tests/test_it.py",
        TESTS
        + """
pytestmark = [pytest.mark.n_plus_one("off"), pytest.mark.max_queries(2)]

@pytest.fixture
def before(client):
    client.get("/looped")

@pytest.mark.max_queries(4)
def test_too_many(client):
    client.get("/run-sync")
    client.get("/one")

@pytest.mark.max_queries(5)
def test_enough(client):
    client.get("/run-sync")

def test_of_the_module(before, client, session, run, async_session):
    for _ in range(3):
        session.query(Customer).count()
    client.get("/one")
    run(shop.more.names(async_session))

def test_run(run, async_session):
    for _ in range(3):
        run(shop.more.names(async_session))

def test_fails_anyhow(client):
    client.get("/run-sync")
    assert False
""",
    )
    result = counting.pytest("tests/test_it.py", "-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines([
        "*_ test_too_many _*",
        "greenroom: The application sent 6 queries. @pytest.mark.max_queries(4) allows 4.",
        "shop/more.py:14: return *len(customer.orders)* (5)",
        "    1 × SELECT customers.id*",
        "    4 × SELECT orders.id*(Customer.orders)",
        "shop/more.py:54: return await session.scalar(select(Customer.name).where(Customer.name == \"Ada\")) (1)",
        "    1 × SELECT customers.name*",
        "*_ test_run _*",
        "greenroom: The application sent 3 queries. *",
        "*_ test_fails_anyhow _*",
        "E *assert False",
        "The application sent 5 queries. *",
    ])  # fmt: skip


@pytest.mark.parametrize("arguments", ["", "-1", "True", "'3'", "1, 2"])
def test_max_queries_without_a_number(counting: Project, arguments: str) -> None:
    """The marker refuses what is no number, before any test runs."""
    counting.write(
        "tests/test_it.py",
        f"import pytest\n@pytest.mark.max_queries({arguments})\ndef test_it(client): pass\n",
    )
    result = counting.pytest("tests/test_it.py")
    assert result.ret == 4
    shown = f"Found: {arguments or 'nothing'} (tests/test_it.py::test_it)."
    assert f"greenroom: the marker max_queries takes a number from 0 on. {shown}" in result.stderr.str()


def test_websocket(counting: Project) -> None:
    """The queries of a WebSocket are recorded, and count for a budget. They are no N+1: each message may be a request."""
    counting.write(
        "tests/test_it.py",
        TESTS
        + """
def ask(client):
    with client.websocket_connect("/names") as socket:
        for number in range(1, 5):
            socket.send_json(number)
            yield socket.receive_text()
        socket.send_json(None)

def test_recorded(client, queries):
    with queries() as sent:
        assert list(ask(client)) == ["Ada", "Bo", "Cy", "Di"]
    assert sent.count == 4

@pytest.mark.max_queries(3)
def test_budget(client):
    assert list(ask(client)) == ["Ada", "Bo", "Cy", "Di"]
""",
    )
    result = counting.pytest("tests/test_it.py")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*_ test_budget _*", "greenroom: The application sent 4 queries. *"])


LOOPS = """
from sqlalchemy import delete, insert, select, text, update
from shop.main import SessionDependency, app, engine, new_session
from shop.models import Customer, Order


@app.post("/inserted")
async def post_inserted(session: SessionDependency) -> None:
    for number in range(4):
        await session.execute(insert(Customer).values(name=f"customer {number}"))
    await session.commit()


@app.post("/updated")
async def post_updated(session: SessionDependency) -> None:
    for number in range(4):
        query = update(Customer).where(Customer.id == number).values(name=f"new {number}")
        await session.execute(query)
    await session.commit()


@app.post("/deleted")
async def post_deleted(session: SessionDependency) -> None:
    for number in range(4):
        await session.execute(delete(Order).where(Order.id == number))
    await session.commit()


@app.post("/flushed")
async def post_flushed(session: SessionDependency) -> None:
    for number in range(4):
        session.add(Customer(name=f"customer {number}"))
        await session.flush()
    await session.commit()


@app.post("/at-once")
async def post_at_once(session: SessionDependency) -> None:
    customers = [Customer(name=f"customer {number}") for number in range(4)]
    session.add_all(customers)
    await session.flush()
    for customer in customers:
        customer.name += "!"
    await session.flush()
    await session.execute(insert(Order), [{"customer_id": customer.id} for customer in customers])
    values = [{"customer_id": customer.id} for customer in customers]
    for _ in range(4):
        await session.execute(insert(Order).values(values))
    for customer in await session.scalars(select(Order)):
        await session.delete(customer)
    await session.commit()


@app.post("/savepoints")
async def post_savepoints(session: SessionDependency) -> None:
    for number in range(4):
        async with session.begin_nested():
            await session.execute(insert(Customer).values(name=f"customer {number}"))
    await session.commit()


@app.post("/transactions")
async def post_transactions() -> None:
    for number in range(4):
        async with new_session.begin() as session:
            await session.execute(insert(Customer).values(name=f"customer {number}"))


@app.get("/literals")
async def get_literals() -> list[str]:
    async with engine.connect() as connection:
        return [await connection.scalar(text(f"SELECT 'a{n}' WHERE {n} > 0")) for n in range(1, 5)]


@app.get("/lists")
async def get_lists(session: SessionDependency) -> int:
    found = 0
    for number in range(4):
        ids = list(range(number, 2 * number + 2))
        found += len((await session.scalars(select(Order.id).where(Order.id.in_(ids)))).all())
    return found


@app.get("/chunks")
async def get_chunks(session: SessionDependency) -> int:
    found = 0
    for start in range(0, 200, 50):
        ids = list(range(start, start + 50))
        found += len((await session.scalars(select(Order.id).where(Order.id.in_(ids)))).all())
        query = text("SELECT id FROM orders WHERE id = ANY(:ids)")
        found += len((await session.execute(query, {"ids": ids})).all())
    return found
"""


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_writes_row_by_row(project: Project, driver: str) -> None:
    """With `n_plus_one_writes`, the same write again and again is found: in one transaction, a row each, and not by a flush."""
    project.write("shop/more.py", LOOPS)
    project.replace(
        "pyproject.toml",
        "seed =",
        f'driver = "postgresql+{driver}"\nn_plus_one = "fail"\nn_plus_one_writes = true\nseed =',
    )
    project.write(
        "tests/test_it.py",
        """
        import pytest
        import shop.more

        @pytest.mark.parametrize("path", ["inserted", "updated", "deleted", "flushed"])
        def test_found(client, path):
            assert client.post(f"/{path}").status_code == 200

        @pytest.mark.parametrize("path", ["at-once", "savepoints", "transactions"])
        def test_not_found(client, path):
            assert client.post(f"/{path}").status_code == 200
        """,
    )
    result = project.pytest("tests/test_it.py")
    result.assert_outcomes(failed=4, passed=3)
    result.stdout.fnmatch_lines([
        "greenroom: POST /inserted sent the same INSERT 4 times, a row each",
        "shop/more.py:9: await session.execute(insert(Customer)*",
        "fix 1: let one flush, after the loop, send them all, or one statement:",
        "greenroom: POST /updated sent the same UPDATE 4 times, a row each",
        "greenroom: POST /deleted sent the same DELETE 4 times, a row each",
        "    await session.execute(delete(Model).where(Model.id.in_(ids)))",
        "greenroom: POST /flushed sent the same INSERT 4 times, a row each",
        "shop/more.py:32: await session.flush()",
    ])  # fmt: skip
    project.replace("pyproject.toml", "n_plus_one_writes = true\n", "")
    project.pytest("tests/test_it.py").assert_outcomes(passed=7)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_values_in_the_text(project: Project, driver: str) -> None:
    """Queries that differ in a value in their text, or in the length of a list, are the same; long lists are batches."""
    project.write("shop/more.py", LOOPS)
    project.replace(
        "pyproject.toml", "seed =", f'driver = "postgresql+{driver}"\nn_plus_one = "fail"\nseed ='
    )
    project.write(
        "tests/test_it.py",
        """
        import pytest
        import shop.more

        @pytest.mark.parametrize("path", ["literals", "lists"])
        def test_found(client, path):
            assert client.get(f"/{path}").status_code == 200

        def test_chunks(client):
            assert client.get("/chunks").status_code == 200
        """,
    )
    result = project.pytest("tests/test_it.py")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines([
        "greenroom: GET /literals sent the same query 4 times (N+1)",
        "greenroom: GET /lists sent the same query 4 times (N+1)",
    ])  # fmt: skip
