"""The API keeps the contract that its own OpenAPI document is: whatever is sent, no 500, and no answer outside the document."""

from collections import Counter
from uuid import uuid4

import pytest
import requests
import schemathesis
from httpx2 import Response
from hypothesis import assume
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.main import app
from app.models import ConnectionStatus, Provider, User
from app.security import Purpose
from tests.factories import connect, make_provider, make_user

schema = schemathesis.openapi.from_dict(app.openapi())

LONGEST_URL = 65_536
"""Characters that httpx2 sends at most."""

EXCLUDED = [
    # Not every rule for an e-mail address can be written in JSON Schema: some that fit the document are refused, with a 422.
    positive_data_acceptance,
    # It sends requests itself, to where nobody listens. tests/api/test_auth.py does the same for every endpoint.
    ignored_auth,
]


def check(client: TestClient, case: Case, answers: Counter[str]) -> None:
    """Send a request as it is, and compare the answer with the document."""
    app.state.resources.attempts.forget()
    request = requests.Request(**case.as_transport_kwargs(base_url=str(client.base_url))).prepare()
    assert request.method is not None
    assert request.url is not None
    assert request.body is None or isinstance(request.body, bytes | str)
    assume(len(request.url) <= LONGEST_URL)
    response: Response = client.request(
        request.method,
        request.url,
        headers={name.encode(): _encoded(value) for name, value in request.headers.items()},
        content=request.body,
        follow_redirects=False,
    )
    answers[str(response.status_code)] += 1
    # The value of a cookie ends at a semicolon: then the one that arrives may be as it should be.
    cut = any(";" in str(value) for value in (case.cookies or {}).values())
    excluded = [*EXCLUDED, negative_data_rejection] if cut else EXCLUDED
    case.validate_response(response, excluded_checks=excluded)


def _encoded(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8")


@pytest.fixture
def user(session: Session) -> User:
    """A user."""
    return make_user(session)


def provider_in(session: Session, user: User, status: ConnectionStatus) -> Provider:
    """A new provider of the user's, whose connection is in this state."""
    provider = make_provider(session, user, alias=str(uuid4()))
    if status is not ConnectionStatus.PENDING:
        connect(session, provider)
        provider.connection.status = status
        session.commit()
    return provider


@schema.parametrize()
def test_stranger(case: Case, client: TestClient, answers: Counter[str]) -> None:
    """Who is not authenticated gets no further than the document says."""
    check(client, case, answers)


@schema.given(status=st.sampled_from([None, *ConnectionStatus]))
@schema.parametrize()
def test_user(
    case: Case,
    client: TestClient,
    answers: Counter[str],
    session: Session,
    user: User,
    status: ConnectionStatus | None,
) -> None:
    """A user gets what the document says, whether a provider is theirs or not, and whatever became of its connection."""
    token = app.state.resources.security.sign(Purpose.ACCESS, 60, sub=str(user.id))
    case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
    if status is not None and "provider_id" in (case.path_parameters or {}):
        case.path_parameters["provider_id"] = str(provider_in(session, user, status).id)
    check(client, case, answers)
