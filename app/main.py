"""The ASGI application: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI

from app import api, logs, problems
from app.api import health
from app.database import engine
from app.oauth import SANDBOX_PATH, sandbox
from app.settings import get_settings


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the database connections when the service stops."""
    yield
    await engine.dispose()


def create_app() -> FastAPI:
    """Put the service together."""
    app = FastAPI(
        title="Financial data providers",
        version="1",
        lifespan=lifespan,
        responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY),
    )
    logs.install()
    problems.install(app)
    app.include_router(health.router)
    app.include_router(api.router)
    if get_settings().sandbox_enabled:
        app.mount(SANDBOX_PATH, sandbox.app)
    return app


app = create_app()
