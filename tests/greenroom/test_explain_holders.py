"""The explanation of an exhausted pool names who holds its connections."""

from __future__ import annotations

from tests.greenroom.conftest import Project


def test_holder_is_named(project: Project) -> None:
    """Where no connection is left, the report says at which line of which test the one that is held was taken."""
    project.write(
        "tests/test_it.py",
        """
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        async def forgetful(url):
            engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.2)
            new_session = async_sessionmaker(engine)
            first, second = new_session(), new_session()
            try:
                await first.execute(text("SELECT 1"))  # holds the only connection
                await second.execute(text("SELECT 2"))
            finally:
                await first.close()
                await second.close()
                await engine.dispose()

        def test_one(run, database_url):
            run(forgetful(database_url))
        """,
    )
    result = project.pytest("tests/test_it.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "*greenroom: why this failed*",
        "*TimeoutError: the only connection of the pool is in use*",
        "*They were held by:*",
        "*tests/test_it.py:9*",
    ])  # fmt: skip
