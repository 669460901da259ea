"""Fixtures of the API tests: users, and providers of theirs, made over HTTP.

Ada and Grace register and log in once for each module that asks for one of them. The modules about registration and login
do it in each test, with `sign_up`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import NamedTuple

import pytest
from fastapi import FastAPI
from httpx2 import Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.models import Provider
from tests.api import helpers
from tests.factories import connect
from tests.fixtures import configure, no_attempts_yet, outside, reconfigure, schwab, security

__all__ = ["configure", "no_attempts_yet", "outside", "reconfigure", "schwab", "security"]


@pytest.fixture
def sign_up(make_client: Callable[..., TestClient]) -> helpers.SignUp:
    """Register a user under an address and log in; the client sends the access token and has its own cookies."""

    def sign_up(email: str) -> TestClient:
        client = make_client()
        helpers.register(client, email)
        client.headers["Authorization"] = f"Bearer {helpers.log_in(client, email)}"
        return client

    return sign_up


class Headers(NamedTuple):
    """What the clients of the two users send."""

    ada: dict[str, str]
    grace: dict[str, str]


@pytest.fixture(scope="module")
def logged_in(app: FastAPI) -> Headers:
    """Two users who have registered and logged in: their rows are what each test of the module begins with."""
    client = TestClient(app)
    emails = "ada@example.org", "grace@example.org"
    for email in emails:
        helpers.register(client, email)
    return Headers(*({"Authorization": f"Bearer {helpers.log_in(client, email)}"} for email in emails))


@pytest.fixture
def user(make_client: Callable[..., TestClient], logged_in: Headers) -> TestClient:
    """A client of a user, Ada, with cookies of its own."""
    return make_client(headers=logged_in.ada)


@pytest.fixture
def other_user(make_client: Callable[..., TestClient], logged_in: Headers) -> TestClient:
    """A client of another user, Grace."""
    return make_client(headers=logged_in.grace)


@pytest.fixture
def provider(user: TestClient) -> str:
    """The path of a provider of Ada's, the sandbox, that was never authorised."""
    return helpers.add_provider(user)


@pytest.fixture
def connected(provider: str, session: Session) -> str:
    """The path of a provider of Ada's, the sandbox, that is authorised."""
    connect(session, session.scalars(select(Provider)).one())
    return provider


@pytest.fixture
def connected_schwab(user: TestClient, schwab: object, session: Session) -> str:
    """The path of a provider of Ada's at the outside provider, that is authorised."""
    path = helpers.add_provider(user, key="schwab", alias="Broker")
    connect(session, session.scalars(select(Provider).where(Provider.key == "schwab")).one())
    return path


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests at the same time."""
    with ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture
def at_once(threads: ThreadPoolExecutor) -> Callable[..., list[Response]]:
    """Send requests at the same moment, each from a thread of its own. Returns their responses."""

    def at_once(*requests: Callable[[], Response]) -> list[Response]:
        barrier = Barrier(len(requests))

        def send(request: Callable[[], Response]) -> Response:
            barrier.wait()
            return request()

        return list(threads.map(send, requests))

    return at_once
