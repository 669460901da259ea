"""The application: a pooled engine at module level, a session per request."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vault import service
from vault.models import Provider

engine = create_async_engine(os.environ["DATABASE_URL"])
new_session = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    app.state.greeting = "hello"
    yield {"farewell": "bye"}
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


bodies: list[Callable[[], None]] = []
"""What the next request of /body does: see tests/conftest.py."""


class Catching:
    """A middleware as many services have one: it makes a 500 of each error."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, note)
        except Exception:  # noqa: BLE001 - as they have it
            if scope["type"] == "http" and not begun:
                await JSONResponse({}, 500)(scope, receive, send)


if os.environ.get("CATCHES"):
    app.add_middleware(Catching)


@app.get("/body")
def get_body() -> None:
    bodies.pop()()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


SessionDependency = Annotated[AsyncSession, Depends(get_session)]


class ConnectionOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int


class ProviderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    connection: ConnectionOut | None


@app.get("/providers/{name}/connected")
async def get_connected(name: str, session: SessionDependency) -> bool:
    return await service.has_connection(session, name)


@app.get("/providers/{name}", response_model=ProviderOut)  # here: response_model
async def get_provider(name: str, session: SessionDependency) -> Provider:
    return await service.provider_named(session, name)


@app.get("/providers/{name}/validated")
async def get_validated(name: str, session: SessionDependency) -> ProviderOut:
    provider = await service.provider_named(session, name)
    return ProviderOut.model_validate(provider)  # here: validated_by_pydantic


@app.get("/greeting")
async def get_greeting(request: Request) -> str:
    return str(request.app.state.greeting)  # here: lifespan_of_the_application


@app.get("/farewell")
async def get_farewell(request: Request) -> str:
    return str(request.state.farewell)  # here: lifespan_of_the_request


@app.get("/broken")
async def get_broken() -> None:
    raise LookupError("broken on purpose")  # here: swallowed_and_unknown


async def notify(provider: Provider) -> None:
    print(provider.connection)  # here: detached_in_the_background


@app.get("/providers/{name}/notified")
async def get_notified(name: str, tasks: BackgroundTasks) -> None:
    async with new_session() as session:
        tasks.add_task(notify, await service.provider_named(session, name))
