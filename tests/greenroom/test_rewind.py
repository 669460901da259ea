"""The database after a test: exactly as migrated."""

from __future__ import annotations

from tests.greenroom.conftest import Project

CHECK = """
    import pytest
    from sqlalchemy import text
    from shop.main import app, engine as async_engine, new_session
    from shop.models import Country, Customer, Order

    def contents(session):
        tables = {
            name: session.execute(text(f"SELECT * FROM {name} ORDER BY 1")).all()
            for name in ("countries", "customers", "orders")
        }
        sequences = {
            name: session.execute(text(f"SELECT last_value, is_called FROM {name}")).one()
            for name in ("customers_id_seq", "orders_id_seq")
        }
        catalogue = session.execute(text(
            "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1")).all()
        return tables, sequences, catalogue

    @pytest.fixture
    def untouched(session):
        tables, sequences, catalogue = contents(session)
        assert [row.code for row in tables["countries"]] == ["CH", "DK", "PT"]
        assert [row.shout for row in tables["countries"]] == ["SWITZERLAND", "DENMARK", "PORTUGAL"]
        assert tables["customers"] == tables["orders"] == []
        assert set(map(tuple, sequences.values())) == {(1, False)}
        assert "scratch" not in [row.relname for row in catalogue]
        session.rollback()

    # Each test leaves something behind, and each checks that the one before it did not.
    pytestmark = pytest.mark.usefixtures("untouched")
"""


def test_whatever_a_test_left(project: Project) -> None:
    """Committed and uncommitted work of the test, the application, and connections of their own: all gone."""
    project.passes(
        CHECK
        + """
    def test_inserts(session, client):
        session.add(Customer(name="a", country_code="CH", orders=[Order(), Order()]))
        session.commit()
        client.post("/customers/b")

    def test_seeded_rows_changed(session):
        session.execute(text("UPDATE countries SET name = 'Helvetia' WHERE code = 'CH'"))
        session.execute(text("DELETE FROM countries WHERE code = 'DK'"))
        session.execute(text("INSERT INTO countries (code, name) VALUES ('SE', 'Sweden')"))
        session.commit()

    def test_truncate(session):
        session.execute(text("TRUNCATE customers, countries, orders RESTART IDENTITY CASCADE"))
        session.commit()

    def test_uncommitted(session):
        session.add(Customer(name="a"))
        session.flush()

    def test_uncommitted_in_the_async_session(async_session, run):
        async_session.add(Customer(name="a"))
        run(async_session.flush())

    def test_sequence_alone(session):
        session.execute(text("SELECT nextval('customers_id_seq'), setval('orders_id_seq', 500)"))
        session.rollback()

    def test_sequence_without_a_value(session):
        session.execute(text("SELECT setval('orders_id_seq', 500, false)"))

    def test_failed_statement(session):
        session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
        session.commit()
        with pytest.raises(Exception, match="unique"):
            session.execute(text("INSERT INTO customers (name) VALUES ('a')"))

    def test_another_connection(sync_database_url):
        import psycopg
        with psycopg.connect(sync_database_url.replace("+psycopg", "")) as connection:
            with connection.cursor().copy("COPY customers (name) FROM STDIN") as copy:
                copy.write_row(["copied"])

    def test_the_applications_pool(run):
        async def work():
            async with new_session() as one, new_session() as other:
                one.add(Customer(name="one"))
                other.add(Customer(name="other"))
                await one.commit()
                await other.commit()
        run(work())

    def test_temporary_table(session):
        session.execute(text("CREATE TEMPORARY TABLE scratch (id int)"))
        session.commit()

    def test_last():
        pass
    """
    )


def test_changed_schema(project: Project) -> None:
    """A test that changes the schema gets the next one a fresh clone, and all pools stay usable."""
    project.passes(
        CHECK
        + """
    def test_create(session, client, run):
        client.post("/customers/a")
        session.execute(text("CREATE TABLE scratch (id int)"))
        session.commit()

    def test_alter(session, client):
        assert client.post("/customers/a").status_code == 201
        session.execute(text("ALTER TABLE customers ADD COLUMN more text"))
        session.commit()

    def test_drop(client, session):
        assert client.post("/customers/a").status_code == 201
        session.execute(text("DROP TABLE orders"))
        session.commit()

    def test_rolled_back(session, client):
        assert client.post("/customers/a").status_code == 201
        session.execute(text("DROP TABLE orders"))
        session.rollback()

    def test_after(client, session):
        assert session.query(Order).all() == []
        assert client.post("/customers/a").json() == {"id": 1}
    """
    )


def test_failing_tests_leave_nothing(project: Project) -> None:
    """What a failing test had committed, or had in the middle of a transaction, is gone for the next one."""
    project.write(
        "tests/test_it.py",
        CHECK
        + """
    def test_fails(session, client):
        client.post("/customers/a")
        session.add(Customer(name="b"))
        session.flush()
        assert False

    @pytest.fixture
    def broken(session):
        session.add(Customer(name="c"))
        session.commit()
        raise RuntimeError

    def test_error_at_setup(broken):
        pass

    def test_after():
        pass
    """,
    )
    project.pytest().assert_outcomes(passed=1, failed=1, errors=1)


def test_transaction_left_open(project: Project) -> None:
    """A test that leaves a transaction of the application open fails itself, with an explanation; the next is fine."""
    project.write(
        "tests/test_it.py",
        """
        from shop.main import new_session
        from shop.models import Customer

        left = []

        def test_leaves(run):
            async def leave():
                session = new_session()
                session.add(Customer(name="left"))
                await session.flush()
                left.append(session)
            run(leave())

        def test_next(client):
            assert client.get("/customers").json() == []
        """,
    )
    result = project.pytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines([
        "*ERROR at teardown of test_leaves*",
        "greenroom: The test left a transaction open, or a lock held: idle in transaction for *, last statement 'INSERT INTO customers*",
        "*→ close the session or end the transaction*",
    ])  # fmt: skip


def test_schema_changed_and_transaction_left_open(project: Project) -> None:
    """A test that has changed the schema, and left a transaction open as well, fails, and the next one has a fresh clone."""
    project.write(
        "tests/test_it.py",
        CHECK
        + """
    connections = []

    def test_both(session, engine):
        session.execute(text("CREATE TABLE scratch AS SELECT 1"))
        session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
        session.commit()
        connections.append(engine.connect())
        connections[0].execute(text("SELECT 1"))

    def test_after():
        pass
    """,
    )
    result = project.pytest("-W", "ignore::pytest.PytestUnraisableExceptionWarning")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*The test left a transaction open*"])


def test_sequence_with_a_cache(project: Project) -> None:
    """A connection that has values of a sequence in advance does not hand them out in the next test."""
    seed = project.root / "seed.sql"
    seed.write_text(f"{seed.read_text()}\nCREATE SEQUENCE numbers CACHE 10;\n")
    project.passes("""
        import pytest
        from sqlalchemy import text

        @pytest.mark.parametrize("attempt", range(3))
        def test_it(session, client, run, attempt):
            from shop.main import engine

            async def drawn():
                async with engine.begin() as connection:
                    return await connection.scalar(text("SELECT nextval('numbers')"))

            assert run(drawn()) == 1
            assert session.scalar(text("SELECT nextval('numbers')")) == 11
            session.commit()
        """)


def test_settings_of_the_migrations(project: Project) -> None:
    """What the migrations set for the database holds in its clones, also in one that is made in the middle of the run."""
    seed = project.root / "seed.sql"
    settings = (
        'search_path TO "a, b", public',
        "TimeZone TO ''Europe/Paris''",
        "default_transaction_isolation TO serializable",
    )
    statements = "".join(
        f"EXECUTE format('ALTER DATABASE %I SET {setting}', current_database());" for setting in settings
    )
    seed.write_text(f"{seed.read_text()}\nDO $$ BEGIN {statements} END $$;\n")
    project.passes("""
        import pytest
        from sqlalchemy import text

        @pytest.mark.parametrize("attempt", range(2))
        def test_it(session, attempt):
            assert session.scalar(text("SHOW search_path")) == '"a, b", public'
            assert session.scalar(text("SHOW TimeZone")) == "Europe/Paris"
            assert session.scalar(text("SHOW transaction_isolation")) == "serializable"
            session.execute(text("CREATE TABLE scratch ()"))
            session.commit()
        """)


def test_serializable_transactions(project: Project) -> None:
    """Two serializable transactions that write to tables of their own do not fail for what greenroom notes of them."""
    project.passes("""
        from sqlalchemy import create_engine, text

        def test_it(sync_database_url):
            engine = create_engine(sync_database_url, isolation_level="SERIALIZABLE")
            with engine.connect() as one, engine.connect() as other:
                one.execute(text("SELECT 1"))
                other.execute(text("SELECT 1"))
                one.execute(text("INSERT INTO customers (name) VALUES ('a')"))
                other.execute(text("INSERT INTO countries (code, name) VALUES ('SE', 'Sweden')"))
                one.commit()
                other.commit()
            engine.dispose()

        def test_after(session):
            assert session.scalar(text("SELECT count(*) FROM customers")) == 0
            assert session.scalar(text("SELECT count(*) FROM countries")) == 3
        """)


def test_work_that_is_about_to_end(project: Project) -> None:
    """A task that the test did not wait for gets a moment to finish its transaction."""
    project.passes("""
        import asyncio
        from shop.main import create, new_session
        from shop.models import Customer

        tasks = []

        def test_starts(run):
            async def work(flushed):
                async with new_session() as session:
                    session.add(Customer(name="late"))
                    await session.flush()
                    flushed.set()
                    await asyncio.sleep(0.2)
                    await session.commit()
            async def start():
                flushed = asyncio.Event()
                tasks.append(asyncio.create_task(work(flushed)))
                await flushed.wait()
            run(start())

        def test_next(session, run):
            async def finish():
                await tasks[0]
            run(finish())
            assert session.query(Customer).count() == 0
        """)


def test_many_rewinds(project: Project) -> None:
    """Over hundreds of rewinds neither the tables nor the notes of what was touched grow."""
    project.passes("""
        import pytest
        from sqlalchemy import text
        from shop.models import Customer

        @pytest.mark.parametrize("number", range(350))
        def test_insert(session, number):
            session.add(Customer(name="a", country_code="CH"))
            session.commit()
            size = "SELECT pg_relation_size('customers') + pg_relation_size('greenroom.touched')"
            assert session.execute(text(size)).scalar() <= 4 * 8192
        """)


def test_block_that_would_never_end(project: Project) -> None:
    """A test whose request waits for a lock that the test itself holds fails, instead of hanging."""
    project.write(
        "tests/conftest.py",
        """
        import pytest
        from sqlalchemy import text

        @pytest.fixture
        def impatient(engine):
            with engine.begin() as connection:
                assert connection.execute(text("SHOW lock_timeout")).scalar() == "10s"
        """,
    )
    project.passes("""
        import pytest
        from sqlalchemy import text

        def test_lock(impatient, session, run, async_session):
            session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
            async def wait():
                await async_session.execute(text("SET LOCAL lock_timeout = '300ms'"))
                await async_session.execute(text("INSERT INTO customers (name) VALUES ('a')"))
            with pytest.raises(Exception, match="lock timeout"):
                run(wait())
        """)


def test_rewind_after_a_class_or_module(project: Project) -> None:
    """With the marker `rewind`, the tests of a class or module build on each other; after the last, all is gone."""
    project.write(
        "tests/test_after_module.py",
        """
        from shop.models import Customer

        def test_gone(session):
            assert session.query(Customer).count() == 0
        """,
    )
    project.write(
        "tests/test_a_module.py",
        """
        import pytest
        from shop.models import Customer

        pytestmark = pytest.mark.rewind("module")

        @pytest.mark.parametrize("number", range(3))
        def test_first(session, number):
            assert session.query(Customer).count() == number
            session.add(Customer(name=str(number)))
            session.commit()
        """,
    )
    project.write(
        "tests/test_classes.py",
        """
        import pytest
        from shop.models import Customer

        @pytest.mark.rewind("class")
        class TestOne:
            def test_first(self, client):
                assert client.post("/customers/a").json() == {"id": 1}

            def test_second(self, client):
                assert client.get("/customers").json() == ["a"]

        @pytest.mark.rewind("class")
        class TestOther:
            def test_first(self, client):
                assert client.get("/customers").json() == []
        """,
    )
    project.pytest("tests").assert_outcomes(passed=7)


def test_wrong_scope(project: Project) -> None:
    """A marker `rewind` without one of the two scopes is refused before any test runs."""
    project.write(
        "tests/test_it.py", "import pytest\n\n@pytest.mark.rewind('session')\ndef test_it(): pass\n"
    )
    result = project.pytest()
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*takes one of 'class', 'module'. Found: 'session' (tests/test_it.py::test_it).*"]
    )


def test_fresh_database(project: Project) -> None:
    """With the marker `fresh_database` a test begins with a new clone: another database under the same name."""
    project.passes("""
        import pytest
        from sqlalchemy import text

        oids = []

        def oid(session):
            return session.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))

        def test_one(session, client):
            client.get("/customers")
            oids.append(oid(session))

        def test_two(session):
            assert oid(session) == oids[0]

        @pytest.mark.fresh_database
        def test_three(session, client):
            assert oid(session) != oids[0]
            assert client.get("/customers").json() == []
        """)


def test_connections_that_a_test_has_changed(project: Project) -> None:
    """What a test leaves with a pooled connection (LISTEN, SET, a cursor WITH HOLD) is not there for the next test.

    Within the test, the pool is as in production, so an application that leaks a setting shows it.
    """
    project.passes(
        """
        import pytest
        from sqlalchemy import func, select, text

        STATE = text(
            "SELECT current_setting('work_mem'), current_setting('search_path'), current_setting('app.user', true),"
            " (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors WHERE is_holdable),"
            " (SELECT count(*) FROM pg_prepared_statements WHERE NOT from_sql IS NOT TRUE), current_user"
        )
        CHANGES = [
            "LISTEN news",
            "SET work_mem = '9MB'",
            "  set session search_path to pg_catalog",
            "SELECT set_config('app.user', 'ada', false)",
            "DECLARE held CURSOR WITH HOLD FOR SELECT 1",
            "PREPARE one AS SELECT 1",
            "SET ROLE NONE",
            "/* whose */ SET work_mem = '9MB'",
            "-- whose\\nSET work_mem = '9MB'",
            "DO $$ BEGIN PERFORM set_config('work_mem', '9MB', false); END $$",
            "DO $$ BEGIN SET work_mem = '9MB'; END $$",
            "SELECT 1, set_config('work_mem', '9MB', false), 2",
            "SELECT set_config('work_mem', concat('9', 'MB'), 'no')",
            "WITH it AS (SELECT SET_CONFIG('work_mem', '9MB', FALSE)) SELECT * FROM it",
            "SELECT set_config('app.user', '', true), set_config('work_mem', '9MB', false)",
        ]
        first = {}

        def state(engine, run):
            from shop.main import engine as pooled

            async def theirs():
                async with pooled.connect() as connection:
                    return (await connection.execute(STATE)).one()

            with engine.connect() as connection:
                return connection.execute(STATE).one(), run(theirs())

        @pytest.mark.parametrize("change", ["nothing", *CHANGES, "nothing more"])
        def test_change(engine, run, change):
            from shop.main import engine as pooled

            found = state(engine, run)
            assert first.setdefault("state", found) == found

            async def theirs():
                async with pooled.begin() as connection:
                    await connection.execute(text(change))

            if change in CHANGES:
                with engine.begin() as connection:
                    connection.execute(text(change))
                run(theirs())
                assert (state(engine, run) != found) == (change != "SET ROLE NONE")

        @pytest.mark.parametrize("lasts", [True, False])
        def test_bound(engine, run, lasts):
            from shop.main import engine as pooled

            found = state(engine, run)
            assert first["state"] == found
            setting = select(func.set_config("app.user", "ada", not lasts))

            async def theirs():
                async with pooled.begin() as connection:
                    await connection.execute(setting)

            with engine.begin() as connection:
                connection.execute(setting)
            run(theirs())
            values = [row[2] for row in state(engine, run)]
            assert values == (["ada"] * 2 if lasts else [""] * 2)

        def test_several_statements_at_once(engine):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT 1; SET work_mem = '9MB'")
                assert connection.scalar(text("SHOW work_mem")) == "9MB"

        def test_what_ends_by_itself(engine, run):
            from shop.main import engine as pooled

            assert state(engine, run) == first["state"]

            async def pid():
                async with pooled.begin() as connection:
                    await connection.execute(text("SET LOCAL work_mem = '9MB'"))
                    await connection.execute(text("SELECT set_config('app.user', 'ada', true)"))
                    await connection.execute(select(func.set_config("app.user", "ada", True)))
                    return await connection.scalar(text("SELECT pg_backend_pid()"))

            first["pid"] = run(pid())

        def test_keeps_its_connection(run):
            from shop.main import engine as pooled

            async def pid():
                async with pooled.connect() as connection:
                    return await connection.scalar(text("SELECT pg_backend_pid()"))

            assert run(pid()) == first["pid"]
        """
    )


def test_connections_that_a_driver_has_changed(project: Project) -> None:
    """What a test does with the driver's own connection of a pooled one (asyncpg's `add_listener`) ends with the test."""
    project.passes(
        """
        from sqlalchemy import text

        heard = []

        async def driver(connection):
            return (await connection.get_raw_connection()).driver_connection

        def test_listens_and_sets(run, engine):
            from shop.main import engine as pooled

            async def theirs():
                async with pooled.connect() as connection:
                    own = await driver(connection)
                    await own.add_listener("news", lambda *arguments: heard.append(arguments[2:]))
                    await own.execute("SET work_mem = '9MB'")

            run(theirs())
            with engine.connect() as connection:
                own = connection.connection.driver_connection
                own.execute("SET work_mem = '9MB'")
                own.commit()
            notify(engine, run)
            assert heard == [("news", "")]
            heard.clear()

        def notify(engine, run):
            from shop.main import engine as pooled

            with engine.begin() as connection:
                connection.execute(text("NOTIFY news"))

            # The server tells a session what it has been notified of together with the answer to a query.
            async def ask():
                async with pooled.connect() as connection:
                    await connection.execute(text("SELECT 1"))

            run(ask())

        def test_next(run, engine):
            from shop.main import engine as pooled

            async def theirs():
                async with pooled.connect() as connection:
                    return await connection.scalar(text("SHOW work_mem"))

            notify(engine, run)
            assert heard == []
            assert run(theirs()) != "9MB"
            with engine.connect() as connection:
                assert connection.scalar(text("SHOW work_mem")) != "9MB"
        """
    )
