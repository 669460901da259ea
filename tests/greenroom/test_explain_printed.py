"""Errors and warnings as Python, SQLAlchemy, servers and pytest print them, which have less than the live ones."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenroom.explain.pasted import explain_text

TYPO = """\
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request

@asynccontextmanager
async def lifespan(app):
    app.state.mailer = None
    yield

app = FastAPI(lifespan=lifespan)

@app.get("/")
async def get(request: Request):
    return request.app.state.mailr
"""


class Served:
    """What a server has said: its first lines, and all of it once it has ended."""

    printed = ""


@contextlib.contextmanager
def uvicorn(folder: Path) -> Iterator[Served]:
    """The application `main:app` of a folder, served on a socket there, until it is stopped."""
    command = [sys.executable, "-m", "uvicorn", "main:app", "--uds", "socket"]
    served = Served()
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            while "Uvicorn running" not in served.printed:
                line = server.stderr.readline()
                assert line, served.printed
                served.printed += line
            yield served
            server.terminate()
            served.printed += server.communicate(timeout=30)[1]
        finally:
            server.kill()


def get(folder: Path) -> bytes:
    """What the server answers to `GET /`, however little of it there is."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(folder / "socket"))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_state_under_a_server(tmp_path: Path) -> None:
    """A server has run the lifespan: what is missing in the application's state is missing for another reason."""
    (tmp_path / "main.py").write_text(TYPO)
    with uvicorn(tmp_path) as served:
        assert get(tmp_path).startswith(b"HTTP/1.1 500")
    assert "AttributeError: 'State' object has no attribute 'mailr'" in served.printed
    assert explain_text(served.printed) == []


FORGETS = """\
import asyncio
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

async def main():
    session = AsyncSession(create_async_engine("postgresql+asyncpg://"))
    {line}
    del session

async def create(name): ...

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("line", "title", "code", "here"),
    [
        ("session.commit()", "AsyncSession.commit()", "await session.commit()", True),
        ("create(name='a')", "create()", "await create(name='a')", True),
        # It is dropped by another line than the one that made it.
        ("created = create('a')\n    created = None", "create()", "await create(…)", False),
        (
            "committed = session.commit()\n    del committed",
            "AsyncSession.commit()",
            "await session.commit(…)",
            False,
        ),
    ],
)
def test_never_awaited(line: str, title: str, code: str, here: bool, tmp_path: Path) -> None:
    """The warning that Python prints names the call and the line, if it is that line which has the call."""
    (tmp_path / "main.py").write_text(FORGETS.format(line=line))
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert "was never awaited" in done.stderr
    (explanation,) = explain_text(done.stderr)
    assert explanation.title == f"RuntimeWarning: {title} was called and never awaited"
    assert ("in asynchronous code, await it:", code) in explanation.fixes
    assert explanation.where == (f"{tmp_path / 'main.py'}:6" if here else "")


LEFT = """\
import asyncio, gc, logging, sys, warnings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

{setup}
engine = create_async_engine(sys.argv[1])

async def forget():
    await AsyncSession(engine).execute(text("SELECT 1"))

async def main():
    await forget()
    gc.collect()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        ("logging.disable()", "SAWarning: The garbage collector"),
        ("warnings.simplefilter('ignore'); logging.basicConfig()", "Pool:The garbage collector"),
        ("warnings.simplefilter('ignore')", "\nThe garbage collector"),
    ],
)
def test_collected(setup: str, said: str, server_url: str, tmp_path: Path) -> None:
    """A connection that the garbage collector finds is explained as Python warns of it, and as SQLAlchemy logs it."""
    (tmp_path / "main.py").write_text(LEFT.format(setup=setup))
    url = server_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    done = subprocess.run(
        [sys.executable, "main.py", url],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert said in f"\n{done.stderr}"
    titles = [explanation.title for explanation in explain_text(done.stderr)]
    assert titles == ["SAWarning: a session or connection was forgotten instead of closed"]


@pytest.mark.parametrize("place", ["sys:1", "<sys>:0"])
def test_never_awaited_at_the_end(place: str) -> None:
    """A coroutine that Python drops when it ends is explained, without a line."""
    (explanation,) = explain_text(f"{place}: RuntimeWarning: coroutine 'create' was never awaited\n")
    assert explanation.title == "RuntimeWarning: create() was called and never awaited"
    assert explanation.where == ""


GENERATOR = """\
    def test_create(session):
>       session.add(Provider(name="a"))
E       AttributeError: 'async_generator' object has no attribute 'add'

tests/test_providers.py:12: AttributeError
"""


def test_generator() -> None:
    """What pytest 8 prints of a test that got the generator of an asynchronous fixture is explained."""
    (explanation,) = explain_text(GENERATOR)
    assert explanation.title.startswith("AttributeError: an asynchronous generator was used")
    assert "def session(run, async_session):" in explanation.fixes[0][1]
    assert explanation.where == "tests/test_providers.py:12"


MANAGER = """\
Traceback (most recent call last):
  File "/srv/app/tasks.py", line 21, in names
    with {call} as connection:
TypeError: '{kind}' object does not support the context manager protocol{more}
"""

PYTHON_314 = (
    " (missed __exit__ method) but it supports the asynchronous context manager protocol."
    " Did you mean to use 'async with'?"
)


@pytest.mark.parametrize(
    ("call", "kind", "more", "explained"),
    [
        ("engine.connect()", "AsyncConnection", "", True),
        ("engine.connect()", "sqlalchemy.ext.asyncio.engine.AsyncConnection", PYTHON_314, True),
        ("new_session()", "sqlalchemy.ext.asyncio.session.AsyncSession", PYTHON_314, True),
        ("engine.begin()", "contextlib._AsyncGeneratorContextManager", PYTHON_314, True),
        ("engine.begin()", "_AsyncGeneratorContextManager", "", True),
        ("lifespan(app)", "contextlib._AsyncGeneratorContextManager", PYTHON_314, False),
        ("lifespan(app)", "_AsyncGeneratorContextManager", "", False),
        ("connect()", "psycopg.connection_async.AsyncConnection", PYTHON_314, False),
    ],
)
def test_entered_synchronously(call: str, kind: str, more: str, explained: bool) -> None:
    """`with` on what SQLAlchemy's asynchronous side makes is explained, as Python 3.14 says it, too; on others it is not."""
    found = explain_text(MANAGER.format(call=call, kind=kind, more=more))
    assert [explanation.title for explanation in found] == (
        ["TypeError: an asynchronous engine in synchronous code"] if explained else []
    )


SHORT = """\
from fastapi import FastAPI, Response

app = FastAPI()

@app.get("/")
async def get():
    return Response(b"ab", headers={"content-length": "5"})
"""


def test_content_length(tmp_path: Path) -> None:
    """A server says that a response was too short, in a traceback without a line of the user's."""
    (tmp_path / "main.py").write_text(SHORT)
    with uvicorn(tmp_path) as served:
        assert b"content-length: 5" in get(tmp_path)
    for text in (
        served.printed,
        served.printed.replace(
            "h11._util.LocalProtocolError: Too little data for declared Content-Length",
            "RuntimeError: Response content shorter than Content-Length",
        ),
    ):
        (explanation,) = explain_text(text)
        assert "a response was shorter than its Content-Length" in explanation.title
        assert explanation.where == ""


STRICT = """\
tests/test_it.py::test_it
  /venv/lib/python3.12/site-packages/pytest_asyncio/plugin.py:700: PytestDeprecationWarning: asyncio test 'test_it' requested async @pytest.fixture 'customer' in strict mode. You might want to use @pytest_asyncio.fixture or switch to auto mode. This will become an error in future versions of pytest-asyncio.
    warnings.warn(

  /venv/lib/python3.12/site-packages/_pytest/fixtures.py:1181: PytestRemovedIn9Warning: 'test_other' requested an async fixture 'order', with no plugin or hook that handled it. This is usually an error, as pytest does not natively support it.
    fixturefunc = resolve_fixture_function(fixturedef, request)
"""


def test_strict_mode() -> None:
    """The warnings about asynchronous fixtures that nobody runs name the fixture, and what would run it."""
    strict, unhandled = explain_text(STRICT)
    assert "pytest-asyncio does not run the fixture 'customer'" in strict.title
    assert 'asyncio_mode = "auto"' in strict.render()
    assert "'order'" in unhandled.title
    assert "@pytest_asyncio.fixture\nasync def order():" in unhandled.fixes[1][1]
