"""Fixtures of the API tests: users, and providers of theirs, made over HTTP."""

from collections.abc import Callable

import pytest
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


@pytest.fixture
def user(sign_up: helpers.SignUp) -> TestClient:
    """A client of a user, Ada."""
    return sign_up("ada@example.org")


@pytest.fixture
def other_user(sign_up: helpers.SignUp) -> TestClient:
    """A client of another user, Grace."""
    return sign_up("grace@example.org")


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
