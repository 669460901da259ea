"""The service that the suites test: an async engine at module level, a session for each request, twenty tables."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import Column, ForeignKey, Identity, Integer, MetaData, NullPool, Table, Text, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The models' base."""


class Item(Base):
    """What the tests create."""

    __tablename__ = "item"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str]


metadata: MetaData = Base.metadata

for number in range(19):
    # Nobody writes to them; but a reset of all tables must look at them.
    Table(
        f"other_{number}",
        metadata,
        Column("id", Integer, Identity(always=True), primary_key=True),
        Column("name", Text, index=True),
        Column("item_id", ForeignKey(Item.id)),
    )

# Pooled, as an application in production. Approaches that run several event loops cannot have a pool.
engine = create_async_engine(
    os.environ["DATABASE_URL"], **({"poolclass": NullPool} if os.environ.get("BENCH_POOL") == "null" else {})
)
new_session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def get_session() -> AsyncIterator[AsyncSession]:
    """The request's session."""
    async with new_session() as session:
        yield session


class NewItem(BaseModel):
    """The body of a request."""

    name: str


@app.post("/items", status_code=201)
async def post_item(new: NewItem, session: Annotated[AsyncSession, Depends(get_session)]) -> dict[str, int]:
    """Insert, commit, and say how many there are: one, where the test before left nothing."""
    session.add(Item(name=new.name))
    await session.commit()
    return {"items": await session.scalar(select(func.count()).select_from(Item)) or 0}


@app.get("/ping")
async def ping() -> dict[str, str]:
    """A request without a database."""
    return {"ping": "pong"}
