"""Whether the service can work: what a load balancer asks."""

import asyncio
import logging
from http import HTTPStatus

from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.database import engine
from app.problems import Unavailable, documented

TIMEOUT = 3.0  # seconds

logger = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


@router.get("/health", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
async def health() -> dict[str, str]:
    """Ask the database for a sign of life."""
    try:
        async with asyncio.timeout(TIMEOUT), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:  # a TimeoutError is an OSError
        logger.warning("the database does not answer: %s", type(error).__name__)
        raise Unavailable("database-unavailable", "The database does not answer.") from None
    return {"status": "ok", "database": "ok"}
