"""The ASGI application: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI

from app import api, logs
from app.api import health, problems
from app.api.bodies import LimitBodies
from app.oauth import SANDBOX_PATH
from app.resources import Resources
from app.settings import Settings, get_settings


def create_app(settings: Settings) -> FastAPI:
    """Put the service together. Two applications with different settings do not know of each other."""
    resources = Resources(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await resources.close()

    app = FastAPI(
        title="Financial data providers",
        version="1",
        lifespan=lifespan,
        # Also for what takes no body: nobody is stopped from sending one. And whatever asks the database may have to wait
        # too long for a connection.
        responses=problems.documented(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
        redirect_slashes=False,  # it would send the browser to whatever host the request names
    )
    app.state.resources = resources
    logs.install()
    problems.install(app)
    app.add_middleware(LimitBodies, limit=settings.max_body_size)
    app.include_router(health.router)
    app.include_router(api.router)
    if settings.sandbox_enabled:
        app.mount(SANDBOX_PATH, resources.sandbox.app)
    return app


# The application of this process, for those who find it by its name: uvicorn, and greenroom. Nothing in app/ does.
app = create_app(get_settings())
session_factory = app.state.resources.session_factory
