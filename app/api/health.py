"""Whether the process runs, and whether it can work: two questions, with two answers.

Who is not alive is started again, which helps a process that is stuck. Who is not ready gets no requests, which helps
when the database is away: to start the process again would not bring it back.
"""

import asyncio
import logging
from http import HTTPStatus

from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import errors
from app.api.dependencies import AppResources
from app.api.problems import documented

TIMEOUT = 3.0  # seconds

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer, without asking anybody: the process runs, and its loop is not stuck."""
    return {"status": "alive"}


@router.get("/ready", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
async def ready(resources: AppResources) -> dict[str, str]:
    """Ask the database for a sign of life, within three seconds."""
    try:
        async with asyncio.timeout(TIMEOUT), resources.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:  # a TimeoutError is an OSError
        logger.warning("the database does not answer: %s", type(error).__name__)
        raise errors.DatabaseUnavailable("The database does not answer.") from None
    return {"status": "ready", "database": "ok"}
