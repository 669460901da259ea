"""Registration, login, and who is asking."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.attempts import Attempts
from app.models import AuditEntry, User
from app.resources import Resources
from app.security import Purpose, Security
from app.settings import get_settings
from tests.api.helpers import PASSWORD, SignUp, assert_problem, by_status, log_in, ok, register
from tests.fixtures import Clock, Configure

UNKNOWN = "00000000-0000-0000-0000-000000000000"
PUBLIC = {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/login"),
    ("GET", "/api/v1/oauth/callback"),
}
PROTECTED = [
    ("GET", "/api/v1/me"),
    ("GET", "/api/v1/catalogue"),
    ("GET", "/api/v1/providers"),
    ("POST", "/api/v1/providers"),
    ("GET", "/api/v1/providers/{provider_id}"),
    ("PATCH", "/api/v1/providers/{provider_id}"),
    ("DELETE", "/api/v1/providers/{provider_id}"),
    ("POST", "/api/v1/providers/{provider_id}/authorise"),
    ("POST", "/api/v1/providers/{provider_id}/refresh"),
    ("POST", "/api/v1/providers/{provider_id}/sync"),
    ("POST", "/api/v1/providers/{provider_id}/disconnect"),
    ("GET", "/api/v1/audit"),
]


@pytest.fixture
def user(sign_up: SignUp) -> TestClient:
    """A client of a user, Ada, who registers in each test: in this module nobody is there before."""
    return sign_up("ada@example.org")


# -- POST /auth/register --


def test_register(client: TestClient) -> None:
    """A new user gets a record of their own, without the password in it."""
    response = client.post(
        "/api/v1/auth/register",
        json={"email": " Ada@Example.org ", "password": PASSWORD, "name": " Ada Lovelace "},
    )

    user = ok(response, 201)
    age = datetime.now(UTC) - datetime.fromisoformat(user.pop("created_at"))
    assert abs(age.total_seconds()) < 60
    assert user == {"id": 1, "email": "ada@example.org", "name": "Ada Lovelace", "last_login_at": None}


@pytest.mark.parametrize(
    "email",
    ["ada@école.example", "ADA@ÉCOLE.example", " ada@e\u0301cole.EXAMPLE", "ａda@xn--cole-9oa.example"],
)
def test_register_address_that_is_taken(client: TestClient, session: Session, email: str) -> None:
    """An address belongs to one user, however it is written."""
    register(client, "ada@école.example")

    response = client.post(
        "/api/v1/auth/register", json={"email": email, "password": PASSWORD, "name": "Another"}
    )

    assert_problem(response, 409, "email-taken")
    assert session.scalars(select(User.name)).all() == ["Ada"]
    assert log_in(client, email)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"email": None}, "email"),
        ({"password": "too short"}, "password"),
        ({"password": "x" * 1025}, "password"),
        ({"name": " "}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"is_admin": True}, "is_admin"),
    ],
)
def test_register_invalid_body(
    client: TestClient, session: Session, changes: dict[str, Any], field: str
) -> None:
    """Each fault of the body is reported at its field, and nobody is registered."""
    body = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"} | changes

    response = client.post("/api/v1/auth/register", json=body)

    (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
    assert (fault["in"], fault["field"]) == ("body", field)
    assert session.scalar(select(func.count()).select_from(User)) == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'"x"', b'{"\\ud800": 1}', b'{"email": "\\ud800"}'],
    ids=repr,
)
def test_register_body_that_is_no_json_object(client: TestClient, content: bytes) -> None:
    """A body that is not what it should be is an invalid request, whatever it is."""
    response = client.post(
        "/api/v1/auth/register", content=content, headers={"Content-Type": "application/json"}
    )

    assert_problem(response, 422, "invalid-request")


def test_register_body_that_is_no_text(client: TestClient) -> None:
    """A body that is not even UTF-8 is a bad request."""
    response = client.post(
        "/api/v1/auth/register", content=b"\xff", headers={"Content-Type": "application/json"}
    )

    assert_problem(response, 400, None)


def test_registrations_with_the_same_address(
    client: TestClient, session: Session, at_once: Callable[..., list[Response]]
) -> None:
    """Of registrations at once with one address exactly one succeeds, and is the only one in the log."""
    body = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}

    responses = at_once(*[lambda: client.post("/api/v1/auth/register", json=body)] * 3)

    assert by_status(responses) == [201, 409, 409]
    assert session.scalar(select(func.count()).select_from(User)) == 1
    assert session.scalar(select(func.count()).select_from(AuditEntry)) == 1


# -- POST /auth/login --


def test_login(client: TestClient, session: Session) -> None:
    """A login gives a bearer token that must not be cached, and is noted."""
    register(client, "ada@example.org")

    response = client.post("/api/v1/auth/login", json={"email": "ADA@example.org", "password": PASSWORD})

    token = ok(response)
    assert token.keys() == {"access_token", "token_type", "expires_in"}
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 1800)
    assert response.headers["Cache-Control"] == "no-store"
    assert session.scalars(select(User)).one().last_login_at is not None


def test_login_lifetime_is_configured(client: TestClient, reconfigure: Configure) -> None:
    """ACCESS_TOKEN_LIFETIME says for how long a login is good."""
    reconfigure(ACCESS_TOKEN_LIFETIME="7")
    register(client, "ada@example.org")

    response = client.post("/api/v1/auth/login", json={"email": "ada@example.org", "password": PASSWORD})

    assert ok(response)["expires_in"] == 7


def test_login_tells_nobody_who_is_registered(client: TestClient, session: Session) -> None:
    """A wrong password, an unknown address and a closed account get the same answer."""
    register(client, "ada@example.org")
    register(client, "closed@example.org")
    session.scalars(select(User).where(User.email == "closed@example.org")).one().is_active = False
    session.commit()

    answers = [
        client.post("/api/v1/auth/login", json={"email": email, "password": password})
        for email, password in [
            ("ada@example.org", "wrong"),
            ("ada@example.org", ""),
            ("nobody@example.org", PASSWORD),
            ("closed@example.org", PASSWORD),
        ]
    ]

    for answer in answers:
        assert_problem(answer, 401, "invalid-credentials")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.text == answers[0].text


def test_logins_at_once(
    client: TestClient, reconfigure: Configure, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond those that are hashed and those that wait, a login or registration is told when to come again.

    Who waits holds no connection to the database.
    """
    register(client, "ada@example.org")
    reconfigure(ARGON2_WORKERS="1", ARGON2_QUEUE="1")
    resources: Resources = app.state.resources
    started, go_on = threading.Event(), threading.Event()

    class SlowHasher:
        def verify(self, _hash: str, _password: str) -> bool:
            started.set()
            return go_on.wait(10)

        def hash(self, _password: str) -> str:
            raise AssertionError("a registration got a turn")

        def check_needs_rehash(self, _hash: str) -> bool:
            return False

    monkeypatch.setattr(resources.security, "_hasher", SlowHasher())
    credentials = {"email": "ada@example.org", "password": PASSWORD}
    with ThreadPoolExecutor() as threads:
        logins = [threads.submit(client.post, "/api/v1/auth/login", json=credentials) for _ in range(2)]
        assert started.wait(10)
        end = time.monotonic() + 10
        while resources.security._asked_for < 2:
            assert time.monotonic() < end, "the second login does not wait for its turn"
            time.sleep(0.001)
        assert resources.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        refused = [
            client.post("/api/v1/auth/login", json=credentials),
            client.post("/api/v1/auth/register", json=credentials | {"name": "Ada"}),
        ]
        go_on.set()

    for response in refused:
        assert_problem(response, 503, "overloaded")
        assert response.headers["Retry-After"] == "2"
    assert [login.result().status_code for login in logins] == [200, 200]


@pytest.fixture
def clock(app: FastAPI, reconfigure: Configure, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which the application counts: five attempts from an address, and two at an account, in a minute."""
    reconfigure(ATTEMPTS_PER_ADDRESS="5", ATTEMPTS_PER_ACCOUNT="2", ATTEMPTS_PERIOD="60")
    clock = Clock()
    monkeypatch.setattr(app.state.resources, "attempts", Attempts(get_settings(), clock))
    return clock


def test_too_many_logins_at_one_account(
    make_client: Callable[..., TestClient], clock: Clock, session: Session
) -> None:
    """Who guesses at a password is told to wait, from whatever address and in whatever form; later the owner gets in."""
    clients = [make_client(client=(f"192.0.2.{number}", 50000)) for number in range(4)]
    register(clients[0], "ada@example.org")
    clock.now += 60
    for client in clients[:2]:
        response = client.post("/api/v1/auth/login", json={"email": "ada@example.org", "password": "wrong"})
        assert_problem(response, 401, "invalid-credentials")

    credentials = {"email": " ADA@example.org", "password": PASSWORD}
    response = clients[2].post("/api/v1/auth/login", json=credentials)

    assert_problem(response, 429, "too-many-attempts")
    assert response.headers["Retry-After"] == "30"
    assert session.scalars(select(User.last_login_at)).all() == [None]
    clock.now += 30
    for _ in range(3):  # and those that succeed do not add up
        ok(clients[3].post("/api/v1/auth/login", json=credentials))


def test_too_many_attempts_from_one_address(
    make_client: Callable[..., TestClient], clock: Clock, session: Session
) -> None:
    """Logins and registrations from an address count together, whatever comes of them; others are not held up."""
    client, other = (make_client(client=(host, 50000)) for host in ("192.0.2.1", "192.0.2.2"))
    register(client, "ada@example.org")
    log_in(client, "ada@example.org")
    for number in range(3):
        client.post("/api/v1/auth/login", json={"email": f"{number}@example.org", "password": "wrong"})

    refused = [
        client.post("/api/v1/auth/login", json={"email": "ada@example.org", "password": PASSWORD}),
        client.post(
            "/api/v1/auth/register", json={"email": "new@example.org", "password": PASSWORD, "name": "New"}
        ),
    ]

    for response in refused:
        assert_problem(response, 429, "too-many-attempts")
        assert response.headers["Retry-After"] == "12"
    assert session.scalars(select(User.name)).all() == ["Ada"]
    log_in(other, "ada@example.org")
    clock.now += 12
    log_in(client, "ada@example.org")


def test_too_many_registrations_of_one_account(client: TestClient, clock: Clock) -> None:
    """Who tries whether an address is registered is told to wait."""
    register(client, "ada@example.org")
    body = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}

    assert_problem(client.post("/api/v1/auth/register", json=body), 409, "email-taken")
    assert_problem(client.post("/api/v1/auth/register", json=body), 429, "too-many-attempts")


def test_login_invalid_body(client: TestClient) -> None:
    """A body without a password is an invalid request."""
    response = client.post("/api/v1/auth/login", json={"email": "ada@example.org"})

    assert_problem(response, 422, "invalid-request")


# -- GET /me, and the access token that all but the public endpoints want --


def test_me(sign_up: SignUp) -> None:
    """Each user reads their own record, with the time of the login."""
    ada, grace = sign_up("ada@example.org"), sign_up("grace@example.org")

    assert ok(ada.get("/api/v1/me"))["email"] == "ada@example.org"
    assert ok(grace.get("/api/v1/me"))["email"] == "grace@example.org"
    assert ok(ada.get("/api/v1/me"))["last_login_at"] is not None


def test_every_endpoint_is_public_or_protected(app: FastAPI) -> None:
    """The lists that the next tests go by are complete."""
    endpoints = {
        (method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods
    }

    assert endpoints == PUBLIC | set(PROTECTED)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_request_without_token(client: TestClient, method: str, path: str) -> None:
    """Every protected endpoint asks to authenticate, before anything else is looked at."""
    response = client.request(method, path.format(provider_id=UNKNOWN))

    assert_problem(response, 401, "not-authenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_request_with_invalid_token(client: TestClient, method: str, path: str) -> None:
    """Every protected endpoint refuses a made-up token."""
    headers = {"Authorization": "Bearer made-up"}

    response = client.request(method, path.format(provider_id=UNKNOWN), headers=headers)

    assert_problem(response, 401, "invalid-token")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_request_with_another_scheme(user: TestClient, scheme: str) -> None:
    """A token that does not come as a bearer token counts as none."""
    _, _, token = user.headers["Authorization"].partition(" ")

    response = user.get("/api/v1/me", headers={"Authorization": f"{scheme} {token}"})

    assert_problem(response, 401, "not-authenticated")


@pytest.mark.parametrize(
    "make_token",
    [
        lambda security: security.sign(Purpose.ACCESS, -1, sub="1"),
        lambda security: security.sign(Purpose.AUTHORISATION, 60, sub="1"),
        lambda security: security.sign(Purpose.ACCESS, 60, sub="2"),
        lambda security: security.sign(Purpose.ACCESS, 60, sub="ada"),
        lambda security: security.sign(Purpose.ACCESS, 60, sub="9" * 30),
    ],
    ids=["expired", "of another purpose", "of nobody", "of a name", "of a number too large"],
)
def test_request_with_a_token_of_ours_that_is_no_good(
    client: TestClient, security: Security, make_token: Callable[[Security], str]
) -> None:
    """A token that has expired, is for something else, or whose user is no more, is refused."""
    register(client, "ada@example.org")

    response = client.get("/api/v1/me", headers={"Authorization": f"Bearer {make_token(security)}"})

    assert_problem(response, 401, "invalid-token")


def test_request_of_a_closed_account(user: TestClient, session: Session) -> None:
    """When an account is closed, its tokens are no good from that moment on; when reopened, they are again."""
    ada = session.scalars(select(User)).one()
    ada.is_active = False
    session.commit()
    assert_problem(user.get("/api/v1/me"), 401, "invalid-token")

    ada.is_active = True
    session.commit()
    ok(user.get("/api/v1/me"))


def test_second_login_leaves_the_first_token_good(client: TestClient, user: TestClient) -> None:
    """A user may be logged in more than once."""
    log_in(client, "ada@example.org")

    ok(user.get("/api/v1/me"))
