from __future__ import annotations

import os
from datetime import UTC, datetime

import psycopg
import pytest
from greenroom.plugin.stash import worker_key
from greenroom.urls import conninfo
from sqlalchemy import NullPool, text, update
from sqlalchemy.ext.asyncio import create_async_engine
from vault.main import engine, new_session
from vault.models import Provider

URL = os.environ["DATABASE_URL"]


def test_stale_plan(run, database_url):
    async def change():
        async with engine.connect() as connection:
            await connection.execute(text("CREATE TEMP TABLE changing (a int) ON COMMIT DROP"))
            await connection.execute(text("SELECT * FROM changing"))
            await connection.execute(text("ALTER TABLE changing ADD b int"))
            await connection.execute(text("SELECT * FROM changing"))  # here: stale_plan

    run(change())


def test_prepared_elsewhere(run, database_url):
    async def prepare():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            await connection.execute(text("DEALLOCATE ALL"))
            await connection.execute(text("SELECT 1"))  # here: prepared_elsewhere

    run(prepare())


@pytest.fixture
def full(request, database_url):
    """A database that takes no more connections of an application."""
    name = database_url.rpartition("/")[2].partition("?")[0]
    admin_url = conninfo(request.config.stash[worker_key].server.admin)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 0')
        yield
        admin.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')


def test_too_many_connections(run, full):
    async def connect():
        own = create_async_engine(URL, poolclass=NullPool)
        async with own.connect():  # here: too_many_connections
            pass

    run(connect())


def test_multiple_commands(run, database_url):
    async def both():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT :a; SELECT 2"), {"a": "1"})  # here: multiple_commands

    run(both())


def test_naive_and_aware(run, provider):
    async def change():
        async with new_session() as session:
            await session.execute(update(Provider).values(changed=datetime.now(UTC)))  # here: naive_and_aware

    run(change())
