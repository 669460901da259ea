"""The one engine of the service, made at import, and the sessions on it."""

from collections.abc import AsyncIterator

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.audit import AuditedSession
from app.settings import get_settings

engine = create_async_engine(
    get_settings().async_database_url,
    pool_pre_ping=True,
    hide_parameters=True,  # an SQL error in the log must not quote a password hash or a token
)

session_factory = async_sessionmaker(
    engine,
    sync_session_class=AuditedSession,
    expire_on_commit=False,  # a refresh on attribute access would be I/O where nothing can be awaited
)


async def get_session() -> AsyncIterator[AsyncSession]:
    """The request's session, a FastAPI dependency. What its user does not commit is rolled back."""
    async with session_factory() as session:
        yield session


def violated_constraint(error: DBAPIError) -> str | None:
    """Name of the database constraint that made a statement fail, None where there was none."""
    name: str | None = getattr(error.driver_exception, "constraint_name", None)
    return name


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's five-character code of an error, None where the server did not speak."""
    code: str | None = getattr(error.driver_exception, "sqlstate", None)
    return code
