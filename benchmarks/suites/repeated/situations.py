"""An application with the situations that a tool for repeated queries meets: those that it should find, and those it should not.

A comment `# <- name` marks the line that a finding should name.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, create_engine, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

URL = os.environ["DATABASE_URL"]
engine = create_async_engine(URL)
new_session = async_sessionmaker(engine, expire_on_commit=False)
sync_engine = create_engine(URL.replace("asyncpg", "psycopg"))

app = FastAPI()


class Base(AsyncAttrs, DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    about: Mapped[str] = mapped_column(default="", deferred=True)
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("authors.id"))
    boss: Mapped[Author | None] = relationship(remote_side=id)
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


async def get_session():
    async with new_session() as session:
        yield session


def get_sync_session():
    with Session(sync_engine) as session:
        yield session


OPEN: Any = Depends(get_session)
SYNC: Any = Depends(get_sync_session)
EACH = range(1, 7)


# -- should be found ---------------------------------------------------------------------------------------------------


def count_books(session: Session) -> list[int]:
    counts = []
    for author in session.scalars(select(Author)):
        counts.append(len(author.books))  # <- collection
    return counts


@app.get("/collection")
async def get_collection(session: AsyncSession = OPEN):
    return await session.run_sync(count_books)


@app.get("/many_to_one")
def get_many_to_one(session: Session = SYNC):
    names = []
    for book in session.scalars(select(Book)):
        names.append(book.author.name)  # <- many_to_one
    return names


@app.get("/awaitable")
async def get_awaitable(session: AsyncSession = OPEN):
    counts = []
    for author in (await session.scalars(select(Author))).all():
        counts.append(len(await author.awaitable_attrs.books))  # <- awaitable
    return counts


@app.get("/loop_select")
async def get_loop_select(session: AsyncSession = OPEN):
    names = []
    for number in EACH:
        names.append(await session.scalar(select(Author.name).where(Author.id == number)))  # <- loop_select
    return names


@app.get("/loop_get")
async def get_loop_get(session: AsyncSession = OPEN):
    names = []
    for number in EACH:
        author = await session.get(Author, number)  # <- loop_get
        names.append(author.name)
    return names


@app.get("/loop_count")
async def get_loop_count(session: AsyncSession = OPEN):
    counts = []
    for number in EACH:
        query = select(func.count()).select_from(Book).where(Book.author_id == number)
        counts.append(await session.scalar(query))  # <- loop_count
    return counts


@app.get("/core_text")
async def get_core_text():
    names = []
    async with engine.connect() as connection:
        for number in EACH:
            query = text("SELECT name FROM authors WHERE id = :id")
            names.append(await connection.scalar(query, {"id": number}))  # <- core_text
    return names


@app.get("/literals")
async def get_literals():
    names = []
    async with engine.connect() as connection:
        for number in EACH:
            query = text(f"SELECT name FROM authors WHERE id = {number}")
            names.append(await connection.scalar(query))  # <- literals
    return names


@app.get("/in_lists")
async def get_in_lists(session: AsyncSession = OPEN):
    found = []
    for number in EACH:
        ids = list(range(number + 1))
        found.append((await session.scalars(select(Book.title).where(Book.id.in_(ids)))).all())  # <- in_lists
    return found


@app.get("/deferred_column")
def get_deferred_column(session: Session = SYNC):
    texts = []
    for author in session.scalars(select(Author)):
        texts.append(author.about)  # <- deferred_column
    return texts


@app.get("/expired")
def get_expired(session: Session = SYNC):
    authors = session.scalars(select(Author)).all()
    session.commit()
    names = []
    for author in authors:
        names.append(author.name)  # <- expired
    return names


class BookOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    title: str


class AuthorOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    books: list[BookOut]


@app.get("/response_model", response_model=list[AuthorOut])
def get_response_model(session: Session = SYNC):
    return session.scalars(select(Author)).all()


async def name_of(number: int) -> str | None:
    async with new_session() as session:
        return await session.scalar(select(Author.name).where(Author.id == number))  # <- tasks


@app.get("/tasks")
async def get_tasks():
    return await asyncio.gather(*(name_of(number) for number in EACH))


def sync_name_of(number: int) -> str | None:
    with Session(sync_engine) as session:
        return session.scalar(select(Author.name).where(Author.id == number))  # <- threads


@app.get("/threads")
async def get_threads():
    return [await asyncio.to_thread(sync_name_of, number) for number in EACH]


async def work() -> None:
    async with new_session() as session:
        for number in EACH:
            await session.scalar(select(Author.name).where(Author.id == number))  # <- background


@app.get("/background")
async def get_background(tasks: BackgroundTasks):
    tasks.add_task(work)


async def find(session: AsyncSession, number: int) -> str | None:
    return await session.scalar(select(Author.name).where(Author.id == number))  # <- helper


@app.get("/helper")
async def get_helper(session: AsyncSession = OPEN):
    return [await find(session, number) for number in EACH]


@app.websocket("/socket")
async def socket(socket: WebSocket):
    await socket.accept()
    async with new_session() as session:
        for number in EACH:
            name = await session.scalar(select(Author.name).where(Author.id == number))  # <- socket
            await socket.send_text(name or "")
    await socket.close()


@app.get("/chain")
def get_chain(session: Session = SYNC):
    names = []
    author = session.get(Author, max(EACH))
    while author is not None:
        names.append(author.name)
        author = author.boss  # <- chain
    return names


@app.get("/few")
def get_few(session: Session = SYNC):
    return [len(author.books) for author in session.scalars(select(Author).limit(2))]  # <- few


@app.get("/same")
async def get_same(session: AsyncSession = OPEN):
    names = []
    for _ in EACH:
        names.append(await session.scalar(select(Author.name).where(Author.id == 1)))  # <- same
    return names


@app.post("/insert_each")
async def post_insert_each(session: AsyncSession = OPEN):
    for number in EACH:
        await session.execute(insert(Book).values(title=f"{number}", author_id=number))  # <- insert_each
    await session.commit()


@app.post("/update_each")
async def post_update_each(session: AsyncSession = OPEN):
    for number in EACH:
        query = update(Author).where(Author.id == number).values(name=f"{number}")
        await session.execute(query)  # <- update_each
    await session.commit()


@app.post("/flush_each")
async def post_flush_each(session: AsyncSession = OPEN):
    for number in EACH:
        session.add(Book(title=f"{number}", author_id=number))
        await session.flush()  # <- flush_each
    await session.commit()


# -- should not be found -----------------------------------------------------------------------------------------------


@app.get("/selectin")
async def get_selectin(session: AsyncSession = OPEN):
    authors = await session.scalars(select(Author).options(selectinload(Author.books)))
    return [len(author.books) for author in authors]


@app.get("/joined")
async def get_joined(session: AsyncSession = OPEN):
    books = await session.scalars(select(Book).options(joinedload(Book.author)))
    return [book.author.name for book in books]


@app.get("/pages")
async def get_pages(session: AsyncSession = OPEN):
    query, found = select(Book.id).order_by(Book.id).limit(2), 0
    while await session.scalar(select(func.count()).select_from(query.offset(found).subquery())):
        found += 2
    return found


@app.get("/keyset")
async def get_keyset(session: AsyncSession = OPEN):
    last, found = 0, []
    query = select(Book.id).order_by(Book.id).limit(2)
    while batch := (await session.scalars(query.where(Book.id > last))).all():
        found += batch
        last = batch[-1]
    return found


@app.get("/chunks")
async def get_chunks(session: AsyncSession = OPEN):
    found = []
    for start in range(0, 600, 100):
        ids = list(range(start, start + 100))
        found += await session.scalars(select(Book.id).where(Book.id.in_(ids)))
    return found


@app.get("/one/{number}")
async def get_one(number: int, session: AsyncSession = OPEN):
    return await session.scalar(select(Author.name).where(Author.id == number))


@app.get("/places")
async def get_places(session: AsyncSession = OPEN):
    editor = await find(session, 1)
    author = await find(session, 2)
    reader = await find(session, 3)
    printer = await find(session, 4)
    seller = await find(session, 5)
    return [editor, author, reader, printer, seller]


@app.post("/insert_many")
async def post_insert_many(session: AsyncSession = OPEN):
    session.add_all(Book(title=f"{number}", author_id=number) for number in EACH)
    await session.flush()
    values = [{"title": f"{number}", "author_id": number} for number in EACH]
    await session.execute(insert(Book), values)
    await session.commit()


@app.post("/change_many")
async def post_change_many(session: AsyncSession = OPEN):
    for author in await session.scalars(select(Author)):
        author.name = author.name.upper()
    await session.commit()


@app.post("/delete_many")
async def post_delete_many(session: AsyncSession = OPEN):
    for book in await session.scalars(select(Book)):
        await session.delete(book)
    await session.commit()
