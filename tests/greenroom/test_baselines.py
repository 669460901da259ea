"""What fixtures of wider scope have written is what each test begins with, until their scope ends."""

from __future__ import annotations

from tests.greenroom.conftest import Project

COMMON = """
    import pytest
    from sqlalchemy import create_engine, text
    from sqlalchemy.orm import Session
    from shop.models import Base, Country, Customer, Order

    def names(session):
        found = session.scalars(text("SELECT name FROM customers ORDER BY name")).all()
        session.rollback()
        return "".join(found)

    def add(engine, *names):
        with Session(engine) as session:
            session.add_all(Customer(name=name, country_code="CH") for name in names)
            session.commit()
"""


def test_rows_of_a_session_fixture(project: Project) -> None:
    """An autouse fixture of the session fills the database once; each test finds its rows, whatever tests before did."""
    project.passes(
        COMMON
        + """
    @pytest.fixture(scope="session", autouse=True)
    def catalogue(engine):
        add(engine, "s", "t")
        with Session(engine) as session:
            session.execute(text("UPDATE countries SET name = 'Helvetia' WHERE code = 'CH'"))
            session.execute(text("DELETE FROM countries WHERE code = 'DK'"))
            session.commit()

    @pytest.mark.parametrize("number", range(3))
    @pytest.mark.parametrize("statement", [
        "INSERT INTO customers (name, country_code) VALUES ('x', 'CH')", "UPDATE customers SET name = upper(name)",
        "DELETE FROM customers", "TRUNCATE customers, orders RESTART IDENTITY CASCADE", "TRUNCATE countries CASCADE",
        "DELETE FROM countries WHERE code = 'PT'", "CREATE TABLE more (id int)", "ALTER TABLE customers ADD COLUMN age int",
        "DROP TABLE orders", "SELECT nextval('customers_id_seq')", "SELECT 1",
    ])
    def test_it(session, client, number, statement):
        assert names(session) == "st"
        assert client.get("/customers").json() == ["s", "t"]
        assert session.scalars(text("SELECT name FROM countries ORDER BY code")).all() == ["Helvetia", "Portugal"]
        assert session.execute(text("SELECT last_value, is_called FROM customers_id_seq")).one() == (2, True)
        assert session.scalars(text("SELECT to_regclass('more')")).one() is None
        session.execute(text(statement))
        session.commit()
    """,
        "-p", "no:randomly",
    )  # fmt: skip


def test_stack_of_scopes(project: Project) -> None:
    """Session, module and class: each scope's rows are there until it ends, and one beneath may come late."""
    shared = (
        COMMON
        + """
    @pytest.fixture(scope="session")
    def late(engine):
        add(engine, "l")

    @pytest.fixture(scope="session", autouse=True)
    def whole(engine):
        add(engine, "s")

    @pytest.fixture(scope="module")
    def module(engine):
        add(engine, "m")
        yield
        with Session(engine) as session:
            # What it has made is there, and nothing of the tests.
            assert "m" in names(session) and "x" not in names(session)
            session.execute(text("UPDATE customers SET name = 'torn ' || name"))
            session.commit()
    """
    )
    project.write("tests/conftest.py", shared)
    project.write(
        "tests/test_a.py",
        COMMON
        + """
    def test_one(module, session, engine):
        assert names(session) == "ms"
        add(engine, "x")

    @pytest.fixture(scope="class")
    def own(module, engine):
        add(engine, "c")
        with Session(engine) as session:
            session.execute(text("UPDATE customers SET name = 'M' WHERE name = 'm'"))
            session.commit()

    @pytest.mark.usefixtures("own")
    class TestClass:
        def test_two(self, session, engine):
            assert names(session) == "Mcs"
            add(engine, "x")

        def test_three(self, late, session, engine):
            assert names(session) == "Mcls"
            add(engine, "x")

        def test_four(self, session):
            assert names(session) == "Mcls"

    def test_five(session, engine):
        assert names(session) == "lms"
        add(engine, "x")
    """,
    )
    project.write(
        "tests/test_b.py",
        COMMON
        + """
    def test_six(session, engine):
        assert names(session) == "ls"
        add(engine, "x")

    def test_in_the_middle(request, session, engine):
        add(engine, "x")
        request.getfixturevalue("module")
        assert names(session) == "lmsx"

    def test_after(session):
        assert names(session) == "lms"
    """,
    )
    result = project.pytest("-p", "no:randomly", "tests")
    result.assert_outcomes(passed=8)


def test_session_that_stays_open(project: Project) -> None:
    """A `Session` of the whole run is rolled back after each test, and keeps its connection and its fixture's rows."""
    project.passes(
        COMMON
        + """
    @pytest.fixture(scope="session")
    def db(engine):
        with Session(engine) as session:
            first = Customer(name="first", country_code="CH")
            session.add(first)
            session.commit()
            session.refresh(first)
            session.first = first
            yield session

    pids = set()

    @pytest.mark.parametrize("number", range(3))
    def test_it(db, client, number):
        assert db.first.name == "first"
        assert client.get("/customers").json() == ["first"]
        db.add(Customer(name="second", country_code="CH"))
        db.commit()
        db.first.name = "changed"
        db.flush()
        pids.add(db.scalar(text("SELECT pg_backend_pid()")))
        assert len(pids) == 1
    """
    )


def test_outer_transaction_of_the_session(project: Project) -> None:
    """A transaction that a fixture of the session keeps open, with what it has written, is its own to keep."""
    project.passes(
        COMMON
        + """
    @pytest.fixture(scope="session")
    def outer(engine):
        with engine.connect() as connection, connection.begin() as transaction:
            connection.execute(text("INSERT INTO customers (name, country_code) VALUES ('outer', 'CH')"))
            yield connection
            transaction.rollback()

    @pytest.fixture
    def inner(outer):
        with Session(outer, join_transaction_mode="create_savepoint") as session, outer.begin_nested() as savepoint:
            yield session
            savepoint.rollback()

    @pytest.mark.parametrize("number", range(3))
    def test_it(inner, client, number):
        assert inner.scalars(text("SELECT name FROM customers")).all() == ["outer"]
        inner.add(Customer(name=f"inner {number}", country_code="CH"))
        inner.commit()
        assert client.post(f"/customers/committed").status_code == 201
        assert client.get("/customers").json() == ["committed"]
    """
    )


def test_schema_that_a_session_fixture_makes(project: Project) -> None:
    """`drop_all` and `create_all` in a fixture of the session: exact also after a test that changes the schema."""
    project.passes(
        COMMON
        + """
    @pytest.fixture(scope="session", autouse=True)
    def tables(engine):
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(Country(code="SE", name="Sweden"))
            session.execute(text("CREATE TABLE extra (id int)"))
            session.execute(text("INSERT INTO extra VALUES (1)"))
            session.commit()
        yield
        Base.metadata.drop_all(engine)

    @pytest.mark.parametrize("statement", [
        "INSERT INTO extra VALUES (2)", "TRUNCATE extra", "INSERT INTO customers (name, country_code) VALUES ('x', 'SE')",
        "CREATE TABLE more (id int)", "DROP TABLE orders", "DELETE FROM countries", "SELECT 1",
    ])
    def test_it(session, statement):
        assert session.scalars(text("SELECT id FROM extra")).all() == [1]
        assert session.scalars(text("SELECT code FROM countries")).all() == ["SE"]
        assert names(session) == ""
        assert session.scalars(text("SELECT to_regclass('more')")).one() is None
        session.execute(text(statement))
        session.commit()
    """,
        "-p", "no:randomly",
    )  # fmt: skip


def test_schema_that_a_module_fixture_makes(project: Project) -> None:
    """It is gone with its module, and the rows of the session are still there."""
    project.write(
        "tests/conftest.py",
        COMMON
        + """
    @pytest.fixture(scope="session", autouse=True)
    def whole(engine):
        add(engine, "s")
    """,
    )
    project.write(
        "tests/test_a.py",
        COMMON
        + """
    @pytest.fixture(scope="module", autouse=True)
    def table(engine):
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE extra (id int)"))

    @pytest.mark.parametrize("number", range(2))
    def test_it(session, number):
        assert names(session) == "s"
        assert session.scalars(text("SELECT id FROM extra")).all() == []
        session.execute(text("INSERT INTO extra VALUES (1)"))
        session.commit()
    """,
    )
    project.write(
        "tests/test_b.py",
        COMMON
        + """
    @pytest.mark.parametrize("number", range(2))
    def test_it(session, engine, number):
        assert names(session) == "s"
        assert session.scalars(text("SELECT to_regclass('extra')")).one() is None
        add(engine, "x")
    """,
    )
    project.pytest("-p", "no:randomly", "tests").assert_outcomes(passed=4)


def test_what_an_import_writes(project: Project) -> None:
    """Tables and rows that a test module makes while it is imported are there for the whole run."""
    project.passes(
        COMMON
        + """
    import os
    from sqlalchemy import make_url

    own = create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    Base.metadata.create_all(own)
    add(own, "i")

    @pytest.mark.parametrize("number", range(3))
    def test_it(session, client, number):
        assert names(session) == "i"
        assert client.post("/customers/x").status_code == 201
    """
    )


def test_fixture_that_fails(project: Project) -> None:
    """What a fixture wrote before it failed is rewound; what another one wrote before it stays."""
    project.write(
        "tests/test_it.py",
        COMMON
        + """
    @pytest.fixture(scope="session", autouse=True)
    def good(engine):
        add(engine, "g")

    @pytest.fixture(scope="module")
    def bad(engine):
        add(engine, "b")
        raise RuntimeError("bad")

    def test_bad(bad, session):
        pass

    @pytest.mark.parametrize("number", range(2))
    def test_good(session, engine, number):
        assert names(session) == "g"
        add(engine, "x")
    """,
    )
    project.pytest("-p", "no:randomly", "tests").assert_outcomes(passed=2, errors=1)


def test_with_the_marker_rewind_and_fresh_databases(project: Project) -> None:
    """A class that is rewound as a whole, and a fresh clone: the session's rows are beneath both."""
    project.passes(
        COMMON
        + """
    @pytest.fixture(scope="session", autouse=True)
    def whole(engine):
        add(engine, "s")

    @pytest.fixture(scope="session")
    def late(engine):
        add(engine, "l")

    @pytest.mark.rewind("class")
    class TestTogether:
        def test_one(self, session, engine):
            add(engine, "x")

        def test_two(self, late, session):
            assert names(session) == "lsx"

        def test_three(self, session):
            assert names(session) == "lsx"

    def test_after(session, engine):
        assert names(session) == "ls"
        add(engine, "x")

    @pytest.mark.fresh_database
    def test_fresh(session, engine):
        assert names(session) == "ls"
        add(engine, "x")

    def test_last(session):
        assert names(session) == "ls"
    """,
        "-p", "no:randomly",
    )  # fmt: skip


def test_in_each_worker(project: Project) -> None:
    """With pytest-xdist each worker has its own fixtures, and its own baselines."""
    project.passes(
        COMMON
        + """
    @pytest.fixture(scope="session", autouse=True)
    def whole(engine):
        add(engine, "s")

    @pytest.mark.parametrize("number", range(8))
    def test_it(session, engine, number):
        assert names(session) == "s"
        add(engine, "x")
    """,
        "-n", "2",
    )  # fmt: skip


def test_classes_of_unittest(project: Project) -> None:
    """`setUpClass`, `setup_class` and `setup_module` are fixtures of wider scope, too."""
    project.passes(
        COMMON
        + """
    import os
    import unittest
    from sqlalchemy import NullPool, make_url

    def own():
        return create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"), poolclass=NullPool)

    def setup_module():
        add(own(), "m")

    class TestUnittest(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            add(own(), "u")

        def test_one(self):
            with Session(own()) as session:
                assert names(session) == "mu"
            add(own(), "x")

        test_two = test_one

    class TestPlain:
        @classmethod
        def setup_class(cls):
            add(own(), "p")

        def setup_method(self):
            add(own(), "y")

        def test_one(self, session):
            assert names(session) == "mpy"

        test_two = test_one
    """
    )


def test_fresh_database_above_a_schema(project: Project) -> None:
    """A test with a fresh database finds the tables that a fixture of the session makes: it is set up again for that."""
    project.passes(
        COMMON
        + """
    @pytest.fixture(scope="session")
    def table(engine):
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE extra (id int)"))
        yield
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS extra"))

    def count(session):
        found = session.scalars(text("SELECT count(*) FROM extra")).one()
        session.execute(text("INSERT INTO extra VALUES (1)"))
        session.commit()
        return found

    def test_before(table, session):
        assert count(session) == 0

    @pytest.mark.fresh_database
    def test_fresh(table, session):
        assert count(session) == 0

    def test_after(table, session):
        assert count(session) == 0
    """,
        "-p", "no:randomly",
    )  # fmt: skip


def test_schema_that_an_import_makes(project: Project) -> None:
    """It stays, until a test changes the schema: then that test is told what is gone, and what helps."""
    project.write(
        "tests/test_it.py",
        COMMON
        + """
    import os
    from sqlalchemy import NullPool, make_url

    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text("CREATE TABLE extra (id int)"))

    @pytest.mark.parametrize("number", range(2))
    def test_uses(session, number):
        assert session.scalars(text("SELECT id FROM extra")).all() == []
        session.execute(text("INSERT INTO extra VALUES (1)"))
        session.commit()

    def test_changes(session):
        session.execute(text("CREATE TABLE more (id int)"))
        session.commit()

    def test_other(client):
        assert client.get("/customers").json() == []
    """,
    )
    result = project.pytest("-p", "no:randomly", "tests/test_it.py")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_changes*",
            "*What modules have written*is gone: the test changed the schema*",
        ]
    )


def test_transaction_of_the_test_around_a_wider_fixture(project: Project) -> None:
    """A test's own transaction, open while a fixture of the session is set up, is no fixture's: left open, it fails later."""
    project.write(
        "tests/test_it.py",
        COMMON
        + """
    @pytest.fixture(scope="session")
    def late(engine):
        add(engine, "l")

    kept = []

    def test_first(request, sync_database_url):
        kept.append(create_engine(sync_database_url).connect())
        kept[0].execute(text("SELECT 1"))
        request.getfixturevalue("late")
        kept[0].rollback()

    def test_leaves():
        kept[0].execute(text("SELECT 1"))

    def test_after(session):
        assert names(session) == "l"
        kept.pop().invalidate()
    """,
    )
    result = project.pytest("-p", "no:randomly", "tests/test_it.py")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaves*", "*The test left a transaction open*"])
