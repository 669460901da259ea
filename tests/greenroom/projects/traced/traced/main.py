"""An application that runs in as many ways as there are: its lines say themselves whether the tests run them.

`# not run` is a line that is never run, and `# partial` one that goes on in one of two ways only.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session

from traced.models import Item

engine = create_async_engine(os.environ["DATABASE_URL"])
new_session = async_sessionmaker(engine)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opened before the first request, and closed after the last."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        ready = True
    yield
    if not ready:  # partial
        raise RuntimeError  # not run
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def database() -> AsyncIterator[AsyncSession]:
    """A session for each request."""
    async with new_session() as session:
        yield session
        await session.rollback()


Database = Annotated[AsyncSession, Depends(database)]


class Service:
    """What the endpoints call."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def create(self, name: str) -> Item:
        """After the flush, and after an error in it."""
        item = Item(name=name)
        self.session.add(item)
        try:
            await self.session.commit()
        except IntegrityError:
            await self.session.rollback()
            return (await self.session.scalars(select(Item).where(Item.name == name))).one()
        except LookupError:  # not run
            raise  # not run
        else:
            await self.session.refresh(item)
        finally:
            name = name.upper()
        if name == "NOBODY":  # partial
            item.name = "nobody"  # not run
            await self.session.commit()  # not run
        return item

    async def names(self) -> list[str]:
        """Loops and comprehensions around queries."""
        found = []
        async for item in await self.session.stream_scalars(select(Item).order_by(Item.id)):
            if item.name.startswith("x"):  # partial
                continue  # not run
            found.append(item.name)
        again = [name async for name in await self.session.stream_scalars(select(Item.name))]
        while len(found) > 100:  # partial
            found.pop()  # not run
        return found if len(again) == len(found) else again

    async def count(self) -> int:
        """A function that SQLAlchemy runs in a greenlet."""

        def counted(session: Session, most: int) -> int:
            rows = session.scalars(select(Item)).all()
            if len(rows) > most:  # partial
                return most  # not run
            return len(rows)

        return await self.session.run_sync(counted, 1000)


@app.post("/items/{name}")
async def create(name: str, session: Database) -> dict[str, Any]:
    """An endpoint that awaits a service."""
    item = await Service(session).create(name)
    if item.name != name:  # partial
        return {}  # not run
    return {"id": item.id}


@app.get("/items")
async def items(session: Database) -> list[str]:
    """Two queries, one after the other."""
    service = Service(session)
    names = await service.names()
    number = await service.count()
    assert number == len(names)
    return names


@app.get("/together")
async def together() -> list[int]:
    """Tasks beside each other, one of which is cancelled in a query."""

    async def one(number: int) -> int:
        async with new_session() as session:
            found = await session.scalar(text(f"SELECT {number}"))
            return int(found or 0)

    async def late() -> None:
        async with new_session() as session:
            try:
                await session.execute(text("SELECT pg_sleep(10)"))
                await session.commit()  # not run
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                raise

    task = asyncio.create_task(late())
    found = await asyncio.gather(*(one(number) for number in range(3)))
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        found.append(-1)
    return found


@app.get("/threads")
def threads() -> list[int]:
    """A synchronous endpoint, in a thread of the pool, with a thread of its own."""
    found = []

    def add(number: int) -> None:
        if number > 10:  # partial
            return  # not run
        found.append(number)

    thread = threading.Thread(target=add, args=(1,))
    thread.start()
    thread.join()
    found.append(2)
    return found


@app.get("/to-thread")
async def to_thread() -> str:
    """A function in another thread, and what comes after it."""

    def work(word: str) -> str:
        if not word:  # partial
            return "nothing"  # not run
        return word * 2

    word = await asyncio.to_thread(work, "a")
    return word + "b"


@app.get("/stream")
async def stream() -> StreamingResponse:
    """A stream that queries while it is read."""

    async def chunks() -> AsyncIterator[str]:
        async with new_session() as session:
            for number in range(2):
                found = await session.scalar(text(f"SELECT {number}"))
                if found is None:  # partial
                    break  # not run
                yield f"{found}\n"

    return StreamingResponse(chunks())


@app.get("/never")
async def never(session: Database) -> str:
    """Nobody calls it."""
    found = await session.scalar(text("SELECT 1"))  # not run
    if found:  # not run
        return "one"  # not run
    return "none"  # not run
