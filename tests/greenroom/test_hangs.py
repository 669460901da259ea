"""No wait for the application is without an end: what each of them says when what it waits for does not come."""

from __future__ import annotations

import time

import pytest

from tests.greenroom.conftest import Project

APPLICATION = """
import asyncio
import sys
import time

from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

started = []


async def never(request):
    await asyncio.Event().wait()


def never_in_a_thread(request):
    time.sleep(4)
    return JSONResponse("late")


async def blocks(request):
    time.sleep(60)
    return JSONResponse("late")


async def drips(request):
    async def pieces():
        yield b"one"
        await asyncio.Event().wait()
    return StreamingResponse(pieces())


async def stubborn(request):
    async def pieces():
        yield b"one"
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
    return StreamingResponse(pieces())


async def slow_to_leave(request):
    async def pieces():
        yield b"one"
        try:
            await asyncio.Event().wait()
        finally:
            started.append("cleaned up")
    return StreamingResponse(pieces())


async def held(request):
    exec(compile("import time; time.sleep(2)", "pdb.py", "exec"), {"__name__": "pdb"})
    return JSONResponse("stepped through")


async def ends_the_loop(request):
    async def leave():
        sys.exit(3)
    request.app.state.task = asyncio.create_task(leave())
    await asyncio.Event().wait()


async def silent(websocket):
    await websocket.accept()
    await asyncio.Event().wait()


async def unaccepted(websocket):
    pass


async def unclosed(websocket):
    await websocket.accept()


async def broken(websocket):
    await websocket.accept()
    raise LookupError("broken on purpose")


async def stubborn_socket(websocket):
    await websocket.accept()
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass


app = Starlette(
    routes=[
        *(Route(f"/{each.__name__}", each) for each in
          (never, never_in_a_thread, blocks, drips, stubborn, slow_to_leave, held, ends_the_loop)),
        *(WebSocketRoute(f"/{each.__name__}", each) for each in
          (silent, unaccepted, unclosed, broken, stubborn_socket)),
    ]
)
"""


@pytest.fixture
def hanging(project: Project) -> Project:
    """A project whose application hangs in each way, and whose tests wait a second for it."""
    project.write("shop/hanging.py", APPLICATION)
    project.replace("pyproject.toml", "shop.main:app", "shop.hanging:app")
    project.replace("pyproject.toml", "seed =", "timeout = 1\nseed =")
    return project


def test_waits_for_the_application(hanging: Project) -> None:
    """A request, a stream, a WebSocket or `run` that gets no answer fails its test, and says where the application is.

    The next test is fine. A stream that its reader leaves may clean up; one that swallows its cancellation is named.
    """
    hanging.passes("""
        import asyncio
        from pathlib import Path

        import pytest
        from shop import hanging
        from starlette.testclient import TestClient
        from starlette.websockets import WebSocketDisconnect

        from greenroom.errors import HangError

        def line(text):
            lines = Path(hanging.__file__).read_text().splitlines()
            return next(number for number, line in enumerate(lines, 1) if text in line)

        def test_request(client):
            with pytest.raises(HangError) as caught:
                client.get("/never")
            assert "GET /never did not end within 1 s" in str(caught.value)
            assert f"shop/hanging.py:{line('async def never') + 1}: await asyncio.Event().wait()" in str(caught.value)
            assert "timeout = 300 in [tool.greenroom]" in str(caught.value)

        def test_request_in_a_thread(client):
            with pytest.raises(HangError, match=r"thread 'AnyIO worker thread' is at shop/hanging.py:\\d+: time.sleep"):
                client.get("/never_in_a_thread")

        def test_stream(client):
            with pytest.raises(HangError, match="the next piece of the response of GET /drips did not end"):
                with client.stream("GET", "/drips") as response:
                    list(response.iter_raw())

        def test_stream_that_does_not_end(client):
            with pytest.raises(HangError, match="swallows"):
                with client.stream("GET", "/stubborn") as response:
                    pieces = response.iter_raw()
                    assert next(pieces) == b"one"

        def test_stream_that_cleans_up(client):
            with client.stream("GET", "/slow_to_leave") as response:
                pieces = response.iter_raw()
                assert next(pieces) == b"one"
            assert hanging.started == ["cleaned up"]

        @pytest.mark.parametrize("own", [True, False])
        def test_websocket(client, own):
            client = client if own else TestClient(hanging.app)
            with client.websocket_connect("/silent") as socket:
                with pytest.raises(HangError, match="a message of WebSocket /silent did not end within 1 s"):
                    socket.receive_text()
            with pytest.raises(AssertionError, match="ended without accepting the WebSocket /unaccepted"):
                with client.websocket_connect("/unaccepted"):
                    pass
            with client.websocket_connect("/unclosed") as socket:
                with pytest.raises(WebSocketDisconnect) as caught:
                    socket.receive_text()
            assert caught.value.code == 1006
            with pytest.raises(LookupError, match="broken on purpose"):
                with client.websocket_connect("/broken") as socket:
                    socket.receive_text()

        def test_websocket_that_does_not_end(client):
            with pytest.raises(HangError, match="WebSocket /stubborn_socket"):
                with client.websocket_connect("/stubborn_socket"):
                    pass

        async def forever():
            await asyncio.Event().wait()

        def test_run(run, client):
            with pytest.raises(HangError, match=r"run\\(forever\\(\\)\\) did not end within 1 s"):
                run(forever())
            with pytest.raises(HangError, match="forever did not end within 1 s"):
                client.portal.call(forever)

        async def fails():
            raise TimeoutError("its own")

        def test_own_timeout(run):
            with pytest.raises(TimeoutError, match="its own"):
                run(fails())

        def test_debugger(client):
            assert client.get("/held").json() == "stepped through"
        """)


def test_error_on_the_loop(hanging: Project) -> None:
    """An error of greenroom's own on the loop reaches the test that waits, with its traceback."""
    hanging.passes("""
        import pytest

        from greenroom.loop import call, client as module, websocket

        def broken(*_):
            raise ZeroDivisionError("in the module")

        @pytest.mark.parametrize("where", [
            (module._Exchange, "_prepare"), (call.Call, "_launch"), (module._Exchange, "_answer"),
        ])
        def test_request(client, monkeypatch, where):
            monkeypatch.setattr(*where, broken)
            with pytest.raises(ZeroDivisionError) as caught:
                client.get("/nowhere")
            assert caught.traceback[-1].name == "broken"

        @pytest.mark.parametrize("name", ["_read", "_disconnect"])
        def test_stream(client, monkeypatch, name):
            monkeypatch.setattr(module._Exchange, name, broken)
            with pytest.raises(ZeroDivisionError):
                with client.stream("GET", "/drips") as response:
                    pieces = response.iter_raw()
                    next(pieces)

        @pytest.mark.parametrize("name", ["_prepare", "_put", "_read", "_hand_on", "_cancel_later"])
        def test_websocket(client, monkeypatch, name):
            monkeypatch.setattr(websocket.Session, name, broken)
            with pytest.raises(ZeroDivisionError):
                with client.websocket_connect("/silent"):
                    pass
        """)


def test_blocked_loop(hanging: Project) -> None:
    """A call that blocks the loop is named with its line; the run ends, since every other test would say the same."""
    hanging.write(
        "tests/test_it.py",
        """
        def test_blocks(client): client.get("/blocks")
        def test_next(client): client.get("/nowhere")
        """,
    )
    began = time.monotonic()
    result = hanging.pytest("tests/test_it.py", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["*The event loop is blocked at shop/hanging.py:*: time.sleep(60)*"])
    result.stdout.fnmatch_lines(["*! greenroom: The event loop is blocked*"])
    result.stderr.fnmatch_lines(["*did not end with the run*is blocked at shop/hanging.py:*"])
    assert result.parseoutcomes() == {"failed": 1}
    assert time.monotonic() - began < 40


def test_loop_that_ends(hanging: Project) -> None:
    """A `SystemExit` in a task ends the loop: the waiting test says so at once, and the run ends."""
    hanging.replace("pyproject.toml", "timeout = 1", "timeout = 600")
    hanging.write(
        "tests/test_it.py",
        """
        def test_ends(client): client.get("/ends_the_loop")
        def test_next(client): client.get("/nowhere")
        """,
    )
    result = hanging.pytest("tests/test_it.py", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["*The event loop of the application has ended*: SystemExit(3)*"])
    assert result.parseoutcomes() == {"failed": 1}


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
def test_lifespan(hanging: Project, phase: str) -> None:
    """A lifespan that does not get up, or does not end, fails with its line."""
    hanging.write(
        "shop/hanging.py",
        f"""
        import asyncio
        import contextlib
        from starlette.applications import Starlette

        @contextlib.asynccontextmanager
        async def lifespan(app):
            {"await asyncio.Event().wait()" if phase == "startup" else "pass"}
            yield
            await asyncio.Event().wait()

        app = Starlette(lifespan=lifespan)
        """,
    )
    hanging.write("tests/test_it.py", "def test_it(client): client.get('/')")
    result = hanging.pytest("tests/test_it.py")
    result.stdout.fnmatch_lines([f"*the application's {phase} did not end within 1 s. *shop/hanging.py:*"])
    assert result.parseoutcomes().get("errors" if phase == "startup" else "passed") == 1
    assert result.ret == 1


def test_task_that_outlives_the_run(hanging: Project) -> None:
    """A task that swallows its cancellation at the end of the run is named, and the process ends all the same."""
    hanging.write(
        "tests/test_it.py",
        """
        import asyncio
        import pytest

        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

        async def begin():
            global task
            task = asyncio.create_task(stubborn(), name="the stubborn one")

        @pytest.mark.leftover_tasks("ignore")
        def test_it(run):
            run(begin())
        """,
    )
    began = time.monotonic()
    result = hanging.pytest("tests/test_it.py")
    assert result.parseoutcomes() == {"passed": 1}
    assert result.ret == 0
    result.stderr.fnmatch_lines(
        ["*did not end with the run*task 'the stubborn one' waits at tests/test_it.py:7*"]
    )
    assert time.monotonic() - began < 40
