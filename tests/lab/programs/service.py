"""The same behind an application: an engine with a pool at module level, a session for each request."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Annotated

import models
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"])
new_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


@app.post("/providers/{name}")
async def post_provider(name: str, session: Annotated[AsyncSession, Depends(get_session)]) -> int:
    return (await models.create(session, name)).id


@app.post("/providers/{provider_id}/token")
async def post_token(provider_id: int, session: Annotated[AsyncSession, Depends(get_session)]) -> str:
    await models.store_token(session, provider_id, "secret")
    return "stored"
