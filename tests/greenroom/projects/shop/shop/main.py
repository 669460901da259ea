"""An application as it is common: a pooled asyncpg engine at module level, a session per request, commits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from shop.models import Customer

engine = create_async_engine(os.environ["DATABASE_URL"])
new_session = async_sessionmaker(engine, expire_on_commit=False)

events: list[str] = []


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    events.append("up")
    yield {"loop": asyncio.get_running_loop()}
    await engine.dispose()
    events.append("down")


app = FastAPI(lifespan=lifespan)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


def greeting() -> str:
    return "hello"


SessionDependency = Annotated[AsyncSession, Depends(get_session)]


async def create(session: AsyncSession, name: str) -> Customer:
    """A service that commits."""
    customer = Customer(name=name)
    session.add(customer)
    await session.commit()
    return customer


@app.post("/customers/{name}", status_code=201)
async def post_customer(name: str, session: SessionDependency) -> dict[str, Any]:
    return {"id": (await create(session, name)).id}


@app.get("/customers")
async def get_customers(session: SessionDependency) -> list[str]:
    return list(await session.scalars(select(Customer.name).order_by(Customer.name)))


@app.get("/lazy")
async def get_lazy(session: SessionDependency) -> int:
    customer = (await session.scalars(select(Customer))).one()
    return len(customer.orders)


@app.get("/greeting")
async def get_greeting(word: Annotated[str, Depends(greeting)]) -> str:
    return word


@app.get("/loop")
async def get_loop(request: Request) -> dict[str, Any]:
    running = asyncio.get_running_loop()
    return {"loop": id(running), "lifespan": id(request.state.loop)}


@app.get("/background")
async def get_background(tasks: BackgroundTasks) -> str:
    async def later() -> None:
        await asyncio.sleep(0.01)
        async with new_session() as session:
            await create(session, "background")

    tasks.add_task(later)
    return "accepted"


@app.get("/stream")
async def get_stream() -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        try:
            for number in range(1000):
                yield f"{number}\n"
                await asyncio.sleep(0.02 if number > 1 else 0)
        finally:
            events.append("stream closed")

    return StreamingResponse(numbers(), media_type="text/plain")


@app.get("/broken")
async def get_broken() -> None:
    raise LookupError("broken on purpose")


@app.get("/teapot")
async def get_teapot() -> None:
    raise HTTPException(418, "short and stout")


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async with new_session() as session:
        await create(session, await socket.receive_text())
        await socket.send_json(list(await session.scalars(select(Customer.name))))
    await socket.close()
