"""The same with `expire_on_commit=False`: what is expired nevertheless

cause: A commit is not all that expires. A rollback does, and an UPDATE expires what the database computes for it, such as `onupdate=func.now()`.
"""

import os

import models
import pytest
import pytest_asyncio
from sqlalchemy import NullPool, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import mapped_column


class Note(models.Base):
    __tablename__ = "note"
    id = mapped_column(models.Provider.id.type, primary_key=True)
    text = mapped_column(models.Provider.name.type)
    changed = mapped_column(func.now().type, onupdate=func.now())


@pytest_asyncio.fixture
async def session():
    engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(models.Base.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


@pytest.mark.asyncio
async def test_after_commit(session):
    provider = await models.create(session, "one")
    assert provider.name == "one"


@pytest.mark.asyncio
async def test_after_rollback(session):
    provider = await models.create(session, "two")
    with pytest.raises(IntegrityError):
        await models.create(session, "two")
    await session.rollback()
    assert provider.name == "two"


@pytest.mark.asyncio
async def test_after_update(session):
    note = Note(text="before")
    session.add(note)
    await session.commit()
    note.text = "after"
    await session.commit()
    assert note.changed is not None
