"""An application with more than one database: each has its own variable, schema, template, rewind and leftovers."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project

STATS = """
    import os

    from fastapi import APIRouter
    from sqlalchemy import Column, Integer, MetaData, Table, insert, select
    from sqlalchemy.ext.asyncio import create_async_engine

    metadata = MetaData()
    # A table that the other database has as well, with other columns.
    visits = Table("customers", metadata, Column("day", Integer, primary_key=True), Column("count", Integer))
    engine = create_async_engine(os.environ["STATS_URL"])
    router = APIRouter()


    @router.post("/visits/{day}")
    async def post_visit(day: int):
        async with engine.begin() as connection:
            await connection.execute(insert(visits).values(day=day, count=1))


    @router.get("/visits")
    async def get_visits():
        async with engine.connect() as connection:
            return list(await connection.scalars(select(visits.c.day)))
"""

TABLE = """
[tool.greenroom.databases.stats]
database_url = "STATS_URL"
metadata = "shop.stats:metadata"
sql = ["stats.sql"]
"""


@pytest.fixture
def two(project: Project) -> Project:
    """The shop with a database for statistics, in which there is a row from the beginning."""
    project.write("shop/stats.py", STATS)
    project.write("stats.sql", "INSERT INTO customers (day, count) VALUES (0, 100);\n")
    project.replace("shop/main.py", "events: list[str] = []", "import shop.stats\nevents: list[str] = []")
    project.replace(
        "shop/main.py",
        "app = FastAPI(lifespan=lifespan)",
        "app = FastAPI(lifespan=lifespan)\napp.include_router(shop.stats.router)",
    )
    project.write("pyproject.toml", (project.root / "pyproject.toml").read_text() + TABLE)
    return project


def test_each_is_rewound(two: Project) -> None:
    """Rows in both are gone after each test, and what a wider fixture writes to one of them stays for its scope."""
    two.passes("""
        import pytest
        from sqlalchemy import text

        @pytest.fixture(scope="module")
        def visit(database_engine):
            with database_engine("stats").begin() as connection:
                connection.execute(text("INSERT INTO customers VALUES (7, 1)"))

        @pytest.mark.parametrize("number", range(3))
        def test_two(client, session, database_engine, number):
            client.post("/customers/Ada")
            client.post("/visits/1")
            assert client.get("/customers").json() == ["Ada"]
            assert client.get("/visits").json() == [0, 1]
            with database_engine("stats").connect() as connection:
                assert connection.scalars(text("SELECT day FROM customers ORDER BY 1")).all() == [0, 1]

        @pytest.mark.parametrize("number", range(2))
        def test_wider(client, visit, number):
            client.post("/visits/1")
            assert client.get("/visits").json() == [0, 7, 1]

        @pytest.mark.fresh_database
        def test_fresh(client):
            assert client.get("/visits").json() == [0, 7]
            assert client.get("/customers").json() == []
        """)


def test_workers(two: Project) -> None:
    """Each worker has both."""
    two.passes(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(client, number):
            client.post("/visits/1")
            client.post("/customers/Ada")
            assert client.get("/visits").json() == [0, 1]
        """,
        "-n2",
    )


def test_what_is_left_in_one(two: Project) -> None:
    """A transaction that a test leaves open in the other one fails that test, and the next one finds both clean."""
    two.write(
        "tests/test_it.py",
        """
        from sqlalchemy import text

        def test_leaves(client, database_engine):
            client.post("/customers/Ada")
            global connection
            connection = database_engine("stats").connect()
            connection.execute(text("INSERT INTO customers VALUES (9, 9)"))

        def test_next(client):
            assert client.get("/visits").json() == [0]
            assert client.get("/customers").json() == []
        """,
    )
    result = two.pytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*transaction*"])


def test_commands(two: Project) -> None:
    """`exec` gives a command both, and `doctor` starts the application with both."""
    program = (
        "import os, psycopg;"
        "c = psycopg.connect(os.environ['STATS_URL'].replace('+asyncpg', ''));"
        "print(c.execute('SELECT day FROM customers').fetchall())"
    )
    done = two.greenroom("exec", "--", "python", "-c", program)
    assert "[(0,)]" in done.stdout, done.stderr
    assert "ok     application" in two.greenroom("doctor").stdout


def test_a_schema_that_cannot_be_built(two: Project) -> None:
    """The error says which database it is."""
    two.write("stats.sql", "INSERT INTO nowhere VALUES (1);\n")
    two.write("tests/test_it.py", "def test_it(client): pass\n")
    two.pytest().stdout.fnmatch_lines(["*The schema of the database stats could not be built*", "*nowhere*"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[tool.greenroom.databases.stats]\nmetadata = 'a:b'", "*databases.stats] has no key 'database_url'*"),
        ("[tool.greenroom.databases.stats]\ndatabase_url = 'A'", "*databases.stats] must say where the schema*"),
        (
            "[tool.greenroom.databases.stats]\ndatabase_url = 'DATABASE_URL'\nmetadata = 'a:b'",
            "*sets DATABASE_URL twice: for the main database and for stats*",
        ),
        ("[tool.greenroom.databases.Stats]\ndatabase_url = 'A'\nmetadata = 'a:b'", "*lower-case*'Stats'*"),
        ("[tool.greenroom.databases.stats]\nrole = 'me'", "*databases.stats] has no key 'role'. The keys are: alembic,*"),
        ("[tool.greenroom.databases]\nstats = 7", "*databases.stats] must be a table. Found: 7*"),
        ("[tool.greenroom]\ndatabases = 7", "*databases must be tables*"),
    ],
)  # fmt: skip
def test_wrong_settings(project: Project, table: str, message: str) -> None:
    """Each mistake in such a table is told with the table's name, the rule and the value."""
    text = (project.root / "pyproject.toml").read_text()
    if "databases = 7" in table:
        text, table = text.replace("[tool.greenroom]", "[tool.greenroom]\ndatabases = 7"), ""
    project.write("pyproject.toml", f"{text}\n{table}\n")
    done = project.command("status")
    assert done.returncode == 2
    pytest.LineMatcher(done.stderr.splitlines()).fnmatch_lines([message])


def test_no_such_database(project: Project) -> None:
    """The fixture says which ones there are."""
    project.write("tests/test_it.py", "def test_it(database_engine): database_engine('stats')\n")
    project.pytest().stdout.fnmatch_lines(["*ConfigError: *names no database 'stats'. Found: none*"])
