from __future__ import annotations

import pytest
from sqlalchemy import select
from vault import service
from vault.main import engine, get_session
from vault.models import Provider, metadata


def test_coroutine_used(async_session, provider):
    found = service.provider_named(async_session, "a")
    try:
        assert found.name == "a"  # here: coroutine_used
    finally:
        found.close()


def test_coroutine_subscripted(async_session, provider):
    found = service.provider_named(async_session, "a")
    try:
        assert found["name"] == "a"  # here: coroutine_subscripted
    finally:
        found.close()


def test_coroutine_of_a_session(async_session, provider):
    query = select(Provider).where(Provider.name == "a")
    result = async_session.execute(query)
    try:
        assert result.scalars().one()  # here: coroutine_of_a_session
    finally:
        result.close()


def test_coroutine_of_a_local_function(async_session, provider):
    async def name():
        return (await service.provider_named(async_session, "a")).name

    found = name()
    try:
        assert found.upper() == "A"  # here: coroutine_of_a_local_function
    finally:
        found.close()


def test_coroutine_compared(async_session):
    assert service.create(async_session, "a") == "a"  # here: coroutine_compared


def test_generator_used(database_url):
    session = get_session()
    session.add(Provider(name="a"))  # here: generator_used


@pytest.fixture
def generated(database_url):
    # What pytest before 9 makes of an asynchronous fixture.
    return get_session()


def test_generator_of_a_fixture(generated):
    generated.add(Provider(name="a"))  # here: generator_of_a_fixture


async def test_asynchronous(async_session):  # here: asynchronous
    assert await async_session.get(object, 1)


@pytest.fixture  # here: asynchronous_fixture
async def asynchronous_fixture():
    return 1


def test_asynchronous_fixture(asynchronous_fixture):
    pass


def test_create_all(database_url):
    metadata.create_all(engine)  # here: create_all


def test_with_instead_of_async_with(database_url):
    with engine.connect():  # here: with_instead_of_async_with
        pass
