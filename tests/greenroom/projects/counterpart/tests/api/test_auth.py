"""Registration and login."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from httpx2 import AsyncClient
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models import AuditEntry, User
from app.security import Purpose, Security
from tests.api.helpers import PASSWORD, assert_problem, by_status, log_in, ok, register
from tests.fixtures import Configure

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_register(client: AsyncClient) -> None:
    """A new user gets a record of their own, without the password in it."""
    response = await client.post(
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
async def test_register_address_that_is_taken(client: AsyncClient, session: AsyncSession, email: str) -> None:
    """An address belongs to one user, however it is written."""
    await register(client, "ada@école.example")

    response = await client.post(
        "/api/v1/auth/register", json={"email": email, "password": PASSWORD, "name": "Another"}
    )

    assert_problem(response, 409, "email-taken")
    assert (await session.scalars(select(User.name))).all() == ["Ada"]
    assert await log_in(client, email)


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
async def test_register_invalid_body(
    client: AsyncClient, session: AsyncSession, changes: dict[str, Any], field: str
) -> None:
    """Each fault of the body is reported at its field, and nobody is registered."""
    body = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"} | changes

    response = await client.post("/api/v1/auth/register", json=body)

    (fault,) = assert_problem(response, 422, "invalid-request")["errors"]
    assert (fault["in"], fault["field"]) == ("body", field)
    assert await session.scalar(select(func.count()).select_from(User)) == 0


async def test_registrations_with_the_same_address(client: AsyncClient, session: AsyncSession) -> None:
    """Of registrations at once with one address exactly one succeeds, and is the only one in the log."""
    body = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}

    responses = await asyncio.gather(*[client.post("/api/v1/auth/register", json=body) for _ in range(3)])

    assert by_status(responses) == [201, 409, 409]
    assert await session.scalar(select(func.count()).select_from(User)) == 1
    assert await session.scalar(select(func.count()).select_from(AuditEntry)) == 1


async def test_login(client: AsyncClient, session: AsyncSession) -> None:
    """A login gives a bearer token that must not be cached, and is noted."""
    await register(client, "ada@example.org")

    response = await client.post(
        "/api/v1/auth/login", json={"email": "ADA@example.org", "password": PASSWORD}
    )

    token = ok(response)
    assert token.keys() == {"access_token", "token_type", "expires_in"}
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 1800)
    assert response.headers["Cache-Control"] == "no-store"
    assert (await session.scalars(select(User))).one().last_login_at is not None


async def test_login_lifetime_is_configured(client: AsyncClient, reconfigure: Configure) -> None:
    """ACCESS_TOKEN_LIFETIME says for how long a login is good."""
    reconfigure(ACCESS_TOKEN_LIFETIME="7")
    await register(client, "ada@example.org")

    response = await client.post(
        "/api/v1/auth/login", json={"email": "ada@example.org", "password": PASSWORD}
    )

    assert ok(response)["expires_in"] == 7


async def test_login_tells_nobody_who_is_registered(client: AsyncClient, session: AsyncSession) -> None:
    """A wrong password, an unknown address and a closed account get the same answer."""
    await register(client, "ada@example.org")
    await register(client, "closed@example.org")
    (await session.scalars(select(User).where(User.email == "closed@example.org"))).one().is_active = False
    await session.commit()

    answers = [
        await client.post("/api/v1/auth/login", json={"email": email, "password": password})
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
async def test_request_with_a_token_of_ours_that_is_no_good(
    client: AsyncClient, security: Security, make_token: Callable[[Security], str]
) -> None:
    """A token that has expired, is for something else, or whose user is no more, is refused."""
    await register(client, "ada@example.org")

    response = await client.get("/api/v1/me", headers={"Authorization": f"Bearer {make_token(security)}"})

    assert_problem(response, 401, "invalid-token")
