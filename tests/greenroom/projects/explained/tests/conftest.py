from __future__ import annotations

import gc
import inspect
import os
import sys
from collections.abc import Iterator

import pytest
from anyio import from_thread
from fastapi.testclient import TestClient
from vault.models import Connection, Provider


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> int:
    """One provider with a connection. Asked for by tests that have the database."""
    session = request.getfixturevalue("session")
    provider = Provider(name="a", connection=Connection())
    session.add(provider)
    session.commit()
    return provider.id


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a failed test has left is collected before the next one, and not while pytest parses a source for a report.

    Python 3.11.7 could not parse another one meanwhile, as the warnings of these leftovers make it (gh-106905).
    """
    yield
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
    gc.collect()


@pytest.fixture(autouse=True)
def caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CATCHES in the environment, a request that ends in a 500 is seen as such: the application catches its errors."""
    if not os.environ.get("CATCHES"):
        return
    stock = TestClient.get

    def get(client, *args, **options):
        response = stock(client, *args, **options)
        assert response.status_code == 200
        return response

    monkeypatch.setattr(TestClient, "get", get)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """With CATCHES, what a test does that sends no request is done in one."""
    body = pyfuncitem.obj
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    if not os.environ.get("CATCHES") or "client" in arguments or inspect.iscoroutinefunction(body):
        return None
    if "run" in arguments:
        arguments["run"] = run_in_the_request
    from vault.main import bodies

    bodies.append(lambda: body(**arguments))
    pyfuncitem._request.getfixturevalue("client").get("/body")
    return True


def run_in_the_request(coroutine):
    """Run it on the loop of the request, as code in a thread does."""

    async def wait():
        return await coroutine

    return from_thread.run(wait)
