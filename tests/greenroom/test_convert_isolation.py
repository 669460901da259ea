"""`greenroom convert --isolation`: what suites have built to isolate their tests is recognised, and replaced."""

from __future__ import annotations

from tests.greenroom.conftest import Project

RECIPE = """
import os

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from shop.main import app, get_session
from shop.models import metadata


@pytest.fixture(scope="session")
async def engine():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield engine
    await engine.dispose()


@pytest.fixture
async def connection(engine):
    async with engine.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await transaction.rollback()


@pytest.fixture
async def db(connection: AsyncConnection) -> AsyncSession:
    \"\"\"A session of the test.\"\"\"
    session = AsyncSession(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
    yield session
    await session.close()


@pytest.fixture
async def http(db: AsyncSession):
    async def override():
        yield db

    app.dependency_overrides[get_session] = override
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
        yield client
    app.dependency_overrides.clear()
"""

REPLACED = """
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from shop.main import app


@pytest.fixture
def db(async_session: AsyncSession) -> AsyncSession:
    \"\"\"A session of the test.\"\"\"
    return async_session


@pytest.fixture
def http(make_client):
    with make_client(app=app, base_url="http://test", follow_redirects=False) as client:
        yield client
"""

TESTS = """
import pytest
from sqlalchemy import text

from shop.models import Customer

pytestmark = pytest.mark.asyncio


async def test_shared(db, http):
    db.add(Customer(name="Ada"))
    await db.flush()
    assert (await http.get("/customers")).json() == ["Ada"]


async def test_isolated(db, http):
    assert (await http.get("/customers")).json() == []
    await http.post("/customers/Grace")
    assert await db.scalar(text("SELECT name FROM customers")) == "Grace"
"""


def test_savepoints(project: Project) -> None:
    """A savepoint recipe, its tables and its override become greenroom's session and client; what was flushed is committed."""
    project.write("tests/conftest.py", RECIPE)
    project.write("tests/test_it.py", TESTS)
    done = project.greenroom("convert", "--isolation")
    assert done.returncode == 0, done.stderr
    assert (project.root / "tests/conftest.py").read_text() == REPLACED.lstrip()
    assert "    run(db.commit())\n" in (project.root / "tests/test_it.py").read_text()
    for said in (
        "isolation: db is greenroom's async_session now",
        "isolation: engine is gone",
        "isolation: connection is gone",
        "isolation: http overrides no session of the application any more",
    ):
        assert said in done.stderr
    project.pytest().assert_outcomes(passed=2)
    again = project.greenroom("convert", "--isolation", "--check")
    assert (again.returncode, "nothing to convert" in again.stderr) == (0, True)


def test_more_than_isolation(project: Project) -> None:
    """A fixture that does something else as well, or that others need, stays; so does a session beside models of the suite's own."""
    recipe = RECIPE.replace(
        "    yield session\n",
        '    session.add(Customer(name="seeded"))\n    await session.flush()\n    yield session\n',
    ).replace("import metadata", "import Customer, metadata")
    project.write("tests/conftest.py", recipe)
    project.write(
        "tests/test_it.py",
        """
        import pytest

        pytestmark = pytest.mark.asyncio

        async def test_seeded(http):
            assert (await http.get("/customers")).json() == ["seeded"]

        async def test_again(http):
            assert (await http.get("/customers")).json() == ["seeded"]
    """,
    )
    done = project.greenroom("convert", "--isolation")
    assert done.returncode == 0, done.stderr
    assert "isolation:" not in done.stderr
    text = (project.root / "tests/conftest.py").read_text()
    assert "run(connection.run_sync(metadata.create_all))" in text
    assert "app.dependency_overrides[get_session] = override" in text
    project.pytest().assert_outcomes(passed=2)
