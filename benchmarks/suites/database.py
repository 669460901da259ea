"""The database of the suites without greenroom: made and emptied as their authors do it, over a synchronous engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from service import metadata
from sqlalchemy import Engine, create_engine, make_url


@contextmanager
def created() -> Iterator[Engine]:
    """A synchronous engine to the database, with its tables made."""
    engine = create_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def empty(engine: Engine) -> None:
    """DELETE from all tables: with twenty small ones the quickest way that leaves commits real (see the resets)."""
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
