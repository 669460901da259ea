from __future__ import annotations

import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

small = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0, pool_timeout=0.2)


async def nested():
    async with AsyncSession(small) as outer, AsyncSession(small) as inner:
        await outer.execute(text("SELECT 1"))
        await inner.execute(text("SELECT 1"))  # here: queuepool_limit


def test_queuepool_limit(run):
    run(nested())
