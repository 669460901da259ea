"""pytest-sqla

cause: Its README's fixtures for FastAPI: requests get sessions of `sqla_async_sessionmaker`.
pytest.ini: sqla_metadata = models:Base
plugin: sqla
"""

import httpx2
import pytest
import pytest_asyncio
import service


@pytest.fixture(scope="session")
def sqla_session_options():
    return {"expire_on_commit": False}


@pytest.fixture
def session(sqla_async_session):
    return sqla_async_session


@pytest_asyncio.fixture
async def http(sqla_async_sessionmaker):
    async def get_session():
        async with sqla_async_sessionmaker() as session:
            yield session

    service.app.dependency_overrides[service.get_session] = get_session
    transport = httpx2.ASGITransport(service.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
    service.app.dependency_overrides.clear()
