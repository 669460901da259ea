"""Two applications in one process, with different settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cryptography.fernet import Fernet
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.main import create_app
from app.models import Token
from app.settings import Settings, get_settings
from greenroom.typing import Run
from tests.api.helpers import PASSWORD, query_of

ADA = {"email": "ada@example.org", "password": PASSWORD, "name": "Ada"}


def settings_with(**changes: Any) -> Settings:
    """The settings of the environment, with some of one's own."""
    return Settings(**get_settings().model_dump() | changes)


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """An application that is up, and a client of it."""
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="https://testserver") as client,
    ):
        yield client


async def log_in(client: AsyncClient) -> None:
    """Log Ada in."""
    response = await client.post("/api/v1/auth/login", json={"email": ADA["email"], "password": PASSWORD})
    client.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def test_each_has_its_own(run: Run) -> None:
    """Keys, the sandbox and the connections to the database are those of each application alone."""
    one, two = (
        create_app(settings_with()),
        create_app(settings_with(jwt_key="k" * 32)),
    )

    async def look() -> tuple[list[int], list[int]]:
        async with started(one) as client, started(two) as other:
            registered = await client.post("/api/v1/auth/register", json=ADA)
            await log_in(client)
            await log_in(other)
            own = [(await who.get("/api/v1/me")).status_code for who in (client, other)]
            other.headers["Authorization"], client.headers["Authorization"] = (
                client.headers["Authorization"],
                other.headers["Authorization"],
            )
            exchanged = [(await who.get("/api/v1/me")).status_code for who in (client, other)]
            return [registered.status_code, *own], exchanged

    assert run(look()) == ([201, 200, 200], [401, 401])
    resources, others = one.state.resources, two.state.resources
    assert resources.engine is not others.engine
    assert resources.sandbox.client_secret != others.sandbox.client_secret


def test_each_encrypts_under_its_own_key(run: Run, session: Session) -> None:
    """What an application stores is encrypted under its key, and what it reads is decrypted with it."""
    key = Fernet.generate_key().decode()
    app = create_app(settings_with(encryption_key=key))

    async def connect() -> int:
        async with started(app) as client:
            await client.post("/api/v1/auth/register", json=ADA)
            await log_in(client)
            body = {"key": "sandbox", "alias": "Everyday"}
            provider = (await client.post("/api/v1/providers", json=body)).headers["Location"]
            url = (await client.post(f"{provider}/authorise")).json()["authorisation_url"]
            assert query_of(url)["client_id"] == "sandbox"
            await client.get(url, follow_redirects=True)
            return (await client.post(f"{provider}/sync")).status_code

    assert run(connect()) == 200
    stored = session.scalar(text("SELECT access_token FROM tokens"))
    read = run(read_token(app))
    assert Fernet(key).decrypt(stored).decode() == read


async def read_token(app: FastAPI) -> str:
    """The access token, as the application reads it."""
    async with app.state.resources.session_factory() as session:
        token: str = (await session.scalars(select(Token))).one().access_token
    await app.state.resources.close()
    return token
