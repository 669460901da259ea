"""The reason for all this: asynchronous code that is wrong fails in the tests just as it does in production."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest

from tests.greenroom.conftest import Project

TESTS = """
    import pytest
    from sqlalchemy.exc import MissingGreenlet
    from shop.models import Customer, Order

    def test_lazy_load_in_the_application(client, session):
        session.add(Customer(name="a", orders=[Order()]))
        session.commit()
        with pytest.raises(MissingGreenlet, match="greenlet_spawn has not been called"):
            client.get("/lazy")

    def test_lazy_load_in_the_test(session):
        session.add(Customer(name="a", orders=[Order()]))
        session.commit()
        assert len(session.query(Customer).one().orders) == 1
"""


def test_under_the_client(project: Project) -> None:
    """A lazy load in an endpoint raises `MissingGreenlet` under `client`; in the test itself lazy loading works."""
    project.passes(TESTS)


def test_under_uvicorn(project: Project) -> None:
    """The same endpoint of the same application raises the same error under uvicorn."""
    project.write(
        "serve.py",
        """
        import asyncio, os, subprocess, sys
        from shop.main import new_session
        from shop.models import Customer

        async def seed():
            async with new_session() as session:
                session.add(Customer(name="a"))
                await session.commit()

        asyncio.run(seed())
        os.execv(sys.executable, [sys.executable, "-m", "uvicorn", "shop.main:app", "--port", sys.argv[1]])
        """,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "greenroom", "exec", "--", sys.executable, "serve.py", str(port)],
        cwd=project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as server:
        try:
            response = _get(f"http://127.0.0.1:{port}/lazy", server)
        finally:
            # As Ctrl-C in a terminal: the command, and what it runs.
            os.killpg(server.pid, signal.SIGINT)
        output, _ = server.communicate(timeout=20)
    assert response.status_code == 500
    assert "sqlalchemy.exc.MissingGreenlet: greenlet_spawn has not been called" in output


def _get(url: str, server: subprocess.Popen[str]) -> httpx2.Response:
    """The first answer, within 30 s of the server's start."""
    end = time.monotonic() + 30
    while True:
        try:
            return httpx2.get(url)
        except httpx2.ConnectError:
            if server.poll() is not None or time.monotonic() > end:
                assert server.stdout is not None
                pytest.fail(
                    f"uvicorn did not come up:\n{server.stdout.read() if server.poll() is not None else ''}"
                )
            time.sleep(0.05)
