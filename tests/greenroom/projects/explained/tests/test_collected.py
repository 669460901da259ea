"""What the garbage collector finds. These run before others, whose leftovers it would find."""

from __future__ import annotations

import gc
import os

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from vault import service

pytestmark = pytest.mark.filterwarnings("error")

small = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0)


def test_never_awaited(async_session):
    service.create(async_session, "a")
    gc.collect()


def test_commit_never_awaited(async_session):
    async_session.commit()
    gc.collect()


def test_garbage_collector(run):
    async def forget():
        session = AsyncSession(small)
        await session.execute(text("SELECT 1"))

    run(forget())
    gc.collect()
