"""`client`: Starlette's `TestClient` on the one loop."""

from __future__ import annotations

import pytest

from tests.greenroom.conftest import Project

ADDRESSES = """app = FastAPI(lifespan=lifespan)


@app.get("/address")
async def get_address(request: Request) -> str:
    return request.client.host


@app.websocket("/address")
async def tell_address(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(socket.client.host)
    await socket.close()
"""


def test_as_over_starlettes(project: Project) -> None:
    """Background tasks, streams, WebSockets, errors and cookies work over `client` as over Starlette's own.

    Each case is run with both, the second one entered with `with`, and both see the same.
    """
    project.passes("""
        from importlib.metadata import version

        import pytest
        from shop.main import app, events
        from shop.models import Customer
        from starlette.testclient import TestClient
        from starlette.websockets import WebSocketDisconnect

        STREAMS = tuple(map(int, version("starlette").split(".")[:2])) >= (1, 9)

        @pytest.fixture(params=["greenroom", "starlette"])
        def any_client(request):
            if request.param == "greenroom":
                yield request.getfixturevalue("client")
            else:
                request.getfixturevalue("engine")
                with TestClient(app) as client:
                    yield client

        def test_background_task_is_over_when_the_request_is(any_client, session):
            assert any_client.get("/background").json() == "accepted"
            assert session.query(Customer).one().name == "background"

        def test_whole_stream(any_client, monkeypatch):
            monkeypatch.setattr("shop.main.asyncio.sleep", any_client.portal.call(_sleepless))
            lines = any_client.get("/stream").text.split()
            assert lines == [str(number) for number in range(1000)]

        async def _sleepless():
            import asyncio
            sleep = asyncio.sleep
            return lambda delay: sleep(0)

        def test_stream_piece_by_piece_and_left_early(any_client):
            events.clear()
            with any_client.stream("GET", "/stream") as response:
                lines = response.iter_lines()
                assert [next(lines) for _ in range(4)] == ["0", "1", "2", "3"]
                # Before 1.9 Starlette's own client reads a response to its end before it hands it out.
                assert events == [] or type(any_client) is TestClient and not STREAMS
            assert events == ["stream closed"]

        def test_websocket(any_client):
            with any_client.websocket_connect("/echo") as socket:
                socket.send_text("Ada")
                assert socket.receive_json() == ["Ada"]
                with pytest.raises(WebSocketDisconnect):
                    socket.receive_text()

        def test_exception_with_its_traceback(any_client):
            with pytest.raises(LookupError, match="broken on purpose") as caught:
                any_client.get("/broken")
            assert caught.traceback[-1].name == "get_broken"

        def test_error_responses(any_client):
            assert any_client.get("/teapot").status_code == 418
            assert any_client.get("/nowhere").json() == {"detail": "Not Found"}
            assert any_client.head("/greeting").status_code == 405

        def test_bodies(any_client):
            response = any_client.post("/customers/a%20b", content=iter([b"a", b"b"]), headers={"x": "y"})
            assert response.status_code == 201 and response.request.headers["x"] == "y"
            assert any_client.get("/customers", params={"q": "ä"}).json() == ["a b"]
        """)


def test_server_errors_as_responses(project: Project) -> None:
    """`make_client` makes clients with other options: here one that gives a 500 instead of raising."""
    project.passes("""
        def test_it(make_client):
            client = make_client(raise_server_exceptions=False, headers={"x-user": "ada"})
            response = client.get("/broken")
            assert response.status_code == 500
            assert response.request.headers["x-user"] == "ada"
        """)


def test_all_clients_share_one_loop(project: Project) -> None:
    """`client`, a `TestClient` with `with`, one without, and one made before any test: one loop, one pooled engine."""
    project.passes("""
        import pytest
        from fastapi.testclient import TestClient
        from shop.main import app

        early = TestClient(app)

        @pytest.mark.parametrize("attempt", range(3))
        def test_loops(client, attempt):
            loops = {client.get("/loop").json()["loop"]}
            client.post("/customers/a")
            with TestClient(app) as entered:
                loops.add(entered.get("/loop").json()["loop"])
                entered.post("/customers/b")
            plain = TestClient(app)
            for number in range(3):
                assert plain.post(f"/customers/c{number}").status_code == 201
            early.post("/customers/d")
            assert len(loops) == 1
            assert len(early.get("/customers").json()) == 6
        """)


def test_lifespan_once_per_run(project: Project) -> None:
    """The lifespan is entered once per run, its state is in each request, and it is left at the end."""
    project.write(
        "tests/conftest.py",
        """
        import atexit
        from shop.main import events
        atexit.register(lambda: print("events:", events))
        """,
    )
    result = project.passes("""
        from shop.main import events

        def test_first(client):
            answer = client.get("/loop").json()
            assert answer["loop"] == answer["lifespan"]
            assert events == ["up"]

        def test_second(client):
            assert client.get("/greeting").json() == "hello"
            assert events == ["up"]
        """)
    result.stdout.fnmatch_lines(["events: ['up', 'down']"])


def test_lifespan_per_test(project: Project) -> None:
    """`lifespan = "test"` enters it around each test that uses the client."""
    project.replace("pyproject.toml", "seed =", 'lifespan = "test"\nseed =')
    project.passes("""
        from shop.main import events

        def test_first(client):
            assert events == ["up"]

        def test_second(client):
            assert events == ["up", "down", "up"]

        def test_without(session):
            assert events == ["up", "down", "up", "down"]
        """)


def test_lifespan_is_never_open_twice(project: Project) -> None:
    """A test that enters the lifespan itself gets it whole; the run's own is shut down before and started up after."""
    project.passes("""
        from shop.main import app, events
        from starlette.testclient import TestClient

        def test_own(client):
            assert events == ["up"]
            with TestClient(app) as own:
                assert events == ["up", "down", "up"]
                assert own.get("/greeting").json() == "hello"
            assert events == ["up", "down", "up", "down"]

        def test_next(client):
            assert events[-1] == "up"
            assert client.post("/customers/a").status_code == 201
        """)


def test_lifespan_that_a_fixture_holds_open(project: Project) -> None:
    """While a fixture of wider scope holds the lifespan open with its own client, `client` does not open it again."""
    project.passes("""
        import pytest
        from shop.main import app, events
        from starlette.testclient import TestClient

        @pytest.fixture(scope="module")
        def own():
            with TestClient(app) as client:
                yield client

        def test_first(own, client):
            assert events == ["up"]
            assert client.get("/loop").json()["lifespan"] == own.get("/loop").json()["loop"]

        def test_second(client):
            assert events == ["up"]
        """)


def test_lifespan_that_writes(project: Project) -> None:
    """An application that writes rows while it starts up is started for each test, and a lock it keeps is its own."""
    project.replace(
        "shop/main.py",
        '    events.append("up")\n',
        """    events.append("up")
    from sqlalchemy import text
    async with new_session() as session:
        await create(session, "superuser")
    leader = await engine.connect()
    await leader.execute(text("SELECT pg_advisory_lock(1)"))
    await leader.commit()
""",
    )
    project.replace(
        "shop/main.py",
        "    await engine.dispose()\n",
        "    await leader.close()\n    await engine.dispose()\n",
    )
    result = project.passes("""
        import pytest

        @pytest.mark.parametrize("attempt", range(3))
        def test_it(client, attempt):
            assert client.get("/customers").json() == ["superuser"]
        """)
    assert "so it is started for each test" in result.stderr.str()
    result.stdout.re_match_lines(
        [r"greenroom: database ready in .* s, application started \d+ times in .* s; "]
    )


def test_connection_that_the_application_keeps(project: Project) -> None:
    """Where a test has changed the schema, an application that keeps a connection is shut down before its database goes."""
    project.replace(
        "shop/main.py",
        '    events.append("up")\n',
        """    events.append("up")
    from sqlalchemy import text
    app.state.leader = leader = await engine.connect()
    await leader.execute(text("SELECT pg_advisory_lock(1)"))
    await leader.commit()
""",
    )
    project.replace(
        "shop/main.py",
        "    await engine.dispose()\n",
        '    await leader.execute(text("SELECT pg_advisory_unlock(1)"))\n    await leader.close()\n    await engine.dispose()\n',
    )
    project.passes("""
        from shop.main import app, events
        from sqlalchemy import text

        def test_first(client, session):
            session.execute(text("CREATE TABLE scratch ()"))
            session.commit()
            assert events == ["up"]

        def test_second(client, run):
            assert events == ["up", "down", "up"]
            assert run(app.state.leader.scalar(text("SELECT 1"))) == 1
            run(app.state.leader.commit())

        def test_third(client):
            assert events == ["up", "down", "up"]
        """)


@pytest.mark.parametrize("how", ["client", "with"])
def test_startup_failure(project: Project, how: str) -> None:
    """An application that fails to start up fails the test with its own exception and traceback."""
    project.replace("shop/main.py", '    events.append("up")\n', '    raise ConnectionError("no broker")\n')
    project.write(
        "tests/test_it.py",
        """
        from shop.main import app
        from starlette.testclient import TestClient

        def test_client(client):
            pass

        def test_with(engine):
            with TestClient(app):
                pass
        """,
    )
    result = project.pytest("-k", how)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["shop/main.py:*: ConnectionError", "*ConnectionError: no broker*"])


def test_application_without_a_lifespan(project: Project) -> None:
    """A plain ASGI application that knows no lifespan works, and so does a factory."""
    project.write(
        "shop/plain.py",
        """
        def create():
            async def app(scope, receive, send):
                assert scope["type"] == "http"
                body = (await receive())["body"]
                await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
                await send({"type": "http.response.body", "body": body[::-1]})
            return app
        """,
    )
    project.replace("pyproject.toml", "shop.main:app", "shop.plain:create()")
    project.passes("""
        def test_it(client):
            response = client.put("/", content=b"abc")
            assert response.content == b"cba" and response.headers["x-a"] == "b"
        """)


def test_application_that_says_that_it_failed(project: Project) -> None:
    """An application that says that its startup failed, without raising, fails the test with what it said."""
    project.write(
        "shop/plain.py",
        """
        async def app(scope, receive, send):
            assert (await receive())["type"] == "lifespan.startup"
            await send({"type": "lifespan.startup.failed", "message": "no broker"})
        """,
    )
    project.replace("pyproject.toml", "shop.main:app", "shop.plain:app")
    project.write("tests/test_it.py", "def test_it(client): pass")
    result = project.pytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*RuntimeError: the application's startup failed: no broker*"])


def test_application_that_answers_nothing(project: Project) -> None:
    """An application that ends without a response fails the request with a message, as Starlette's client does."""
    project.write(
        "shop/plain.py",
        """
        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise NotImplementedError
        """,
    )
    project.replace("pyproject.toml", "shop.main:app", "shop.plain:app")
    project.passes("""
        import pytest

        def test_it(client):
            with pytest.raises(AssertionError, match="without sending a response"):
                client.get("/")
        """)


def test_context_variables(project: Project) -> None:
    """A context variable that the test sets is visible in the application."""
    project.write(
        "shop/plain.py",
        """
        from contextvars import ContextVar
        who = ContextVar("who", default="nobody")

        async def app(scope, receive, send):
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": who.get().encode()})
        """,
    )
    project.replace("pyproject.toml", "shop.main:app", "shop.plain:app")
    project.passes("""
        from shop.plain import who

        async def current():
            return who.get()

        def test_it(client, run):
            who.set("ada")
            assert client.get("/").text == "ada"
            assert run(current()) == "ada"
        """)


def test_other_backend(project: Project) -> None:
    """A `TestClient` on trio is Starlette's own, with a loop of its own; those on asyncio go on beside it."""
    # Not in the lock: whatever imports anyio's plugin imports it, too, in each run of these tests.
    pytest.importorskip("trio", reason="make test-newest has it")
    project.write(
        "shop/plain.py",
        """
        import sniffio

        async def app(scope, receive, send):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.send", "text": sniffio.current_async_library()})
                await send({"type": "websocket.close"})
            elif scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": sniffio.current_async_library().encode()})
        """,
    )
    project.replace("pyproject.toml", "shop.main:app", "shop.plain:app")
    project.passes("""
        from shop.plain import app
        from starlette.testclient import TestClient

        def library(client):
            with client.websocket_connect("/") as socket:
                assert socket.receive_text() == client.get("/").text
            return client.get("/").text

        def test_it(client):
            assert library(client) == "asyncio"
            assert library(TestClient(app, backend="trio")) == "trio"
            assert library(TestClient(app)) == "asyncio"
        """)


def test_address(project: Project) -> None:
    """Requests come from an address that a filter, or a column of type inet, takes."""
    project.replace("shop/main.py", "app = FastAPI(lifespan=lifespan)\n", ADDRESSES)
    project.passes("""
        def test_client(client):
            assert client.get("/address").json() == "127.0.0.1"
            with client.websocket_connect("/address") as socket:
                assert socket.receive_text() in {"127.0.0.1", "testclient"}  # the latter before 0.44
    """)


def test_without_the_lifespan(project: Project) -> None:
    """`make_client(app=…)` does not start the application up, as httpx's `ASGITransport` does not."""
    project.passes("""
        from shop.main import app, events

        def test_it(make_client):
            client = make_client(app=app)
            assert client.post("/customers/Ada").status_code == 201
            assert client.get("/customers").json() == ["Ada"]
            assert events == []

        def test_next(client):
            assert client.get("/customers").json() == []
            assert events == ["up"]
    """)
