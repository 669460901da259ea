"""A task that outlives its test is waited for, then cancelled, and told with the call and the line that began it."""

from __future__ import annotations

import shutil

import pytest

from tests.greenroom.conftest import Project

APPLICATION = """
    import asyncio
    from shop.main import app, create, new_session

    tasks = set()

    async def later(seconds, name):
        await asyncio.sleep(seconds)
        async with new_session() as session:
            await create(session, name)

    def begin(coroutine):
        tasks.add(task := asyncio.create_task(coroutine))
        task.add_done_callback(tasks.discard)

    @app.post("/later/{seconds}/{name}")
    async def post_later(seconds: float, name: str) -> str:
        begin(later(seconds, name))
        return "begun"

    @app.post("/sleep")
    async def post_sleep() -> str:
        begin(asyncio.sleep(30))
        return "begun"

    async def stubborn():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    @app.post("/stubborn")
    async def post_stubborn() -> str:
        begin(stubborn())
        return "begun"
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project whose application begins tasks that it does not await."""
    project.write("shop/later.py", APPLICATION)
    project.replace("pyproject.toml", "shop.main:app", "shop.later:app")
    return project


TESTS = """
    import pytest
    from shop.later import begin, later

    async def begins(seconds, name):
        begin(later(seconds, name))
"""


def test_task_that_ends_in_time(shop: Project) -> None:
    """What it writes after its test is rewound with that test: of a request and of `run`."""
    shop.passes(
        TESTS
        + """
    @pytest.mark.parametrize("number", range(3))
    def test_it(client, run, number):
        assert client.get("/customers").json() == []
        client.post("/later/0.1/a")
        run(begins(0.05, "b"))
    """
    )


def test_task_that_goes_on(shop: Project) -> None:
    """It is cancelled, fails its test with its call and line, and the next one finds nothing of it."""
    shop.write(
        "tests/test_it.py",
        TESTS
        + """
    def test_request(client):
        client.post("/later/30/a")

    def test_run(run):
        run(begins(30, "b"))

    def test_stubborn(client):
        client.post("/stubborn")

    def test_after(client):
        assert client.get("/customers").json() == []
    """,
    )
    shop.replace("pyproject.toml", "seed =", "task_timeout = 0\nseed =")
    line = "shop/later.py:12: tasks.add(task := asyncio.create_task(coroutine))"
    result = shop.pytest("tests/test_it.py")
    result.assert_outcomes(passed=4, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_request*",
            f"greenroom: The task later() of POST /later/30/a still runs after its test, begun at {line}. It was cancelled.",
            "*ERROR at teardown of test_run*",
            "greenroom: The task later() of run(begins()) still runs after its test, begun at shop/later.py:12: *",
            "*ERROR at teardown of test_stubborn*",
            "greenroom: The task stubborn() of POST /stubborn still runs after its test*swallows its cancellation*",
        ]
    )


@pytest.mark.parametrize("how", ["setting", "marker"])
@pytest.mark.parametrize(("value", "found"), [("warn", 1), ("cancel", 0), ("ignore", 0)])
def test_settings(shop: Project, how: str, value: str, found: int) -> None:
    """`warn` makes a warning of it, `cancel` is quiet, and `ignore` lets the task go on."""
    mark = ""
    if how == "setting":
        shop.replace("pyproject.toml", "seed =", f'leftover_tasks = "{value}"\nseed =')
    else:
        mark = f"@pytest.mark.leftover_tasks({value!r})"
    shop.replace("pyproject.toml", "seed =", "task_timeout = 0\nseed =")
    result = shop.passes(
        TESTS
        + f"""
    import shop.later

    {mark}
    def test_it(client):
        client.post("/later/30/a")

    def test_after():
        assert len(shop.later.tasks) == {int(value == "ignore")}
    """,
        "-W",
        "default",
    )
    assert result.parseoutcomes().get("warnings", 0) == found


def test_tasks_that_are_the_applications(shop: Project) -> None:
    """Those of its lifespan, and what a library keeps running that a request has started, are left alone."""
    shop.write(
        "lib/site-packages/workers.py",
        """
        import asyncio

        async def work():
            await asyncio.sleep(60)

        def start():
            return asyncio.create_task(work())
        """,
    )
    shop.write(
        "shop/working.py",
        """
        import asyncio, contextlib
        import workers
        from fastapi import FastAPI
        from shop.later import later

        running = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            running.append(asyncio.create_task(later(60, "lifespan")))
            yield
            for task in running:
                task.cancel()

        app = FastAPI(lifespan=lifespan)

        @app.get("/start")
        async def start() -> int:
            running.append(workers.start())
            return len(running)
        """,
    )
    shop.replace("pyproject.toml", "shop.later:app", "shop.working:app")
    shop.replace(
        "pyproject.toml",
        "[tool.pytest.ini_options]",
        '[tool.pytest.ini_options]\npythonpath = ["lib/site-packages"]',
    )
    shop.replace("pyproject.toml", "seed =", "task_timeout = 0\nseed =")
    shop.passes(
        """
        import shop.working

        def test_one(client):
            assert client.get("/start").json() == 2

        def test_two(client):
            assert client.get("/start").json() == 3
            assert not any(task.done() for task in shop.working.running)
        """
    )


def test_task_factory_of_the_application(shop: Project) -> None:
    """An application that has its tasks begin eagerly goes on, without being told of what is left."""
    shop.replace(
        "shop/later.py",
        "tasks = set()",
        "tasks = set()\neager = getattr(asyncio, 'eager_task_factory', None)",
    )
    shop.replace(
        "shop/later.py",
        "begin(later(seconds, name))",
        "asyncio.get_running_loop().set_task_factory(eager)\n    begin(later(seconds, name))",
    )
    shop.passes("def test_it(client):\n    assert client.post('/later/0/a').json() == 'begun'\n")


def test_tasks_of_a_wider_fixture(shop: Project) -> None:
    """What a fixture of the session begins is no leftover of the first test that uses it."""
    shop.replace("pyproject.toml", "seed =", "task_timeout = 0\nseed =")
    shop.passes(
        TESTS
        + """
    import shop.later

    @pytest.fixture(scope="session")
    def worker(run):
        run(begins(60, "w"))

    @pytest.mark.parametrize("number", range(2))
    def test_it(worker, client, number):
        assert len(shop.later.tasks) == 1
    """
    )


def test_folder_of_any_name(project: Project) -> None:
    """A project in a folder that is called as a library that passes tasks on is told all the same, of a library's coroutine, too."""
    project.write("asyncio/__init__.txt", "")
    root = project.root / "asyncio" / "anyio"
    shutil.copytree(project.root / "shop", root / "shop")
    for name in ("pyproject.toml", "seed.sql"):
        shutil.copy(project.root / name, root)
    shutil.rmtree(project.root / "asyncio" / "anyio" / "shop" / "__pycache__", ignore_errors=True)
    inner = Project(root, project._pytester)
    inner.write("shop/later.py", APPLICATION)
    inner.replace("pyproject.toml", "shop.main:app", "shop.later:app")
    inner.replace("pyproject.toml", "seed =", "task_timeout = 0\nseed =")
    inner.write("tests/test_it.py", 'def test_it(client):\n    client.post("/sleep")\n')
    result = inner.pytest("--rootdir", str(root), "-c", str(root / "pyproject.toml"), str(root / "tests"))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*begun at *shop/later.py:12: tasks.add(task := asyncio.create_task(coroutine))*"]
    )
