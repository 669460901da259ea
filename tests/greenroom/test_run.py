"""`run.context` and `run.each`: asynchronous context managers and iterables in synchronous tests."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project


def test_context(project: Project) -> None:
    """One task enters and leaves it; the block's error reaches it, and what it swallows stays swallowed."""
    project.passes("""
        import asyncio
        from contextlib import asynccontextmanager
        from contextvars import ContextVar

        import pytest
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        tenant = ContextVar("tenant", default="none")

        @asynccontextmanager
        async def inside(seen):
            token, task = tenant.set("acme"), asyncio.current_task()
            try:
                yield asyncio.get_running_loop()
            except KeyError as error:
                seen.append(error)
            finally:
                seen.append(asyncio.current_task() is task)
                tenant.reset(token)

        async def value():
            return tenant.get(), asyncio.get_running_loop()

        def test_values(run):
            seen = []
            with run.context(inside(seen)) as loop:
                assert tenant.get() == "acme"
                assert run(value()) == ("acme", loop)
                assert seen == []
            assert seen == [True]
            assert tenant.get() == "none"

        def test_errors(run):
            seen = []
            error = KeyError("x")
            with run.context(inside(seen)):
                raise error
            assert seen == [error, True]
            with pytest.raises(ZeroDivisionError) as raised, run.context(inside([])):
                1 / 0
            assert raised.traceback[-1].name == "test_errors"

        def test_broken(run):
            @asynccontextmanager
            async def broken(first):
                if first:
                    raise LookupError("entering")
                yield
                raise LookupError("leaving")

            with pytest.raises(LookupError, match="entering"), run.context(broken(True)):
                raise AssertionError("never")
            with pytest.raises(LookupError, match="leaving"), run.context(broken(False)):
                pass

        def test_task_group(run):
            ran = []
            async def work():
                ran.append(1)
            async def begin(group):
                group.create_task(work())
            with run.context(asyncio.TaskGroup()) as group:
                run(begin(group))
            assert ran == [1]

        def test_session(run, database_url):
            engine = create_async_engine(database_url)
            with run.context(AsyncSession(engine)) as session:
                assert run(session.scalar(text("SELECT 1"))) == 1
            assert engine.pool.checkedout() == 0
            run(engine.dispose())
    """)


def test_each(project: Project) -> None:
    """Elements are fetched one by one; a loop that is left early closes the generator."""
    project.passes("""
        import pytest

        closed = []

        async def numbers(stop):
            try:
                for number in range(stop):
                    yield number
                raise LookupError("the end")
            finally:
                closed.append(stop)

        def test_all(run):
            seen = []
            with pytest.raises(LookupError, match="the end"):
                for number in run.each(numbers(3)):
                    seen.append(number)
            assert seen == [0, 1, 2]
            assert closed.pop() == 3

        def test_left(run):
            assert next(number for number in run.each(numbers(9)) if number == 2) == 2
            import gc; gc.collect()
            assert closed.pop() == 9

        def test_awaitable(run):
            class Three:
                def __await__(self):
                    yield
                    return 3
            assert run(Three()) == 3
            with pytest.raises(TypeError, match="takes a coroutine"):
                run(3)
    """)


def test_hangs(project: Project) -> None:
    """What does not come to its end is told after `timeout`, as in `run`."""
    project.replace("pyproject.toml", "[tool.greenroom]\n", "[tool.greenroom]\ntimeout = 1\n")
    project.write(
        "tests/test_it.py",
        """
        import asyncio
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def slow(where):
            if where == "enter":
                await asyncio.Event().wait()
            yield
            await asyncio.Event().wait()

        def test_enter(run):
            with run.context(slow("enter")):
                pass

        def test_leave(run):
            with run.context(slow("leave")):
                pass
    """,
    )
    result = project.pytest("-p", "no:randomly")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*entering _AsyncGeneratorContextManager did not end within 1 s*",
            "*leaving _AsyncGeneratorContextManager did not end*",
        ]
    )


@pytest.mark.parametrize("own", [True, False])
def test_client_of_another_application(project: Project, own: bool) -> None:
    """`make_client(app=…)` makes a client of that application; the configured one is started up as ever."""
    project.passes(f"""
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        other = Starlette(routes=[Route("/customers", lambda request: JSONResponse(["other"]))])

        def test_it(make_client, app):
            client = make_client(app={"app" if own else "other"}, base_url="http://test")
            assert client.get("/customers").json() == {[] if own else ["other"]!r}
    """)
