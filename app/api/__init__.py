"""The HTTP interface: thin routers over the services, under /api/v1."""

from fastapi import APIRouter

from app.api import audit, auth, catalogue, connections, providers

router = APIRouter(prefix="/api/v1")
for part in (auth, catalogue, providers, connections, audit):
    router.include_router(part.router)
