"""A client for each test, and a pool of one connection for which two requests wait

cause: A pool in which somebody has waited belongs to that loop, too. Of the failures of two loops on this page, it is the one that psycopg's driver has as well.
"""

import asyncio
import os

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=0)
app = FastAPI()


@app.get("/")
async def get_three():
    await asyncio.gather(*(query() for _ in range(3)))


async def query():
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(0.01)"))


@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client


def test_one(client):
    assert client.get("/").status_code == 200


def test_two(client):
    assert client.get("/").status_code == 200
