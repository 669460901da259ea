"""What one application works with, made from its settings: nothing of it is shared with another application."""

from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.attempts import Attempts
from app.audit import AuditedSession
from app.models import CatalogueEntry
from app.models.base import encrypt_with
from app.oauth import ProviderClient
from app.sandbox import Sandbox
from app.security import Security
from app.settings import Settings

_OWNER: Final = "resources"


class Resources:
    """The settings of one application, and what is made from them.

    A session knows the resources of its application, so that a service needs no more than a session.

    Attributes:
        settings: The configuration.
        security: Its keys.
        attempts: The logins and registrations that it counts.
        sandbox: The pretend provider.
        engine: The connections to the database. None is made before the first is asked for.
        session_factory: Makes the sessions of its requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.security = Security(settings)
        self.attempts = Attempts(settings)
        self.sandbox = Sandbox(
            client_id="sandbox",
            client_secret=self.security.derive("sandbox client"),
            token_lifetime=settings.sandbox_token_lifetime,
            public_url=str(settings.public_url) if settings.public_url else None,
        )
        self.engine = create_async_engine(
            settings.async_database_url,
            pool_pre_ping=True,
            hide_parameters=True,  # an SQL error in the log must not quote a password hash or a token
        )
        encrypt_with(self.security, self.engine.dialect)
        self.session_factory = async_sessionmaker(
            self.engine,
            sync_session_class=AuditedSession,
            expire_on_commit=False,  # a refresh on attribute access would be I/O where nothing can be awaited
            info={_OWNER: self},
        )

    @classmethod
    def of(cls, session: AsyncSession) -> Self:
        """Those of the application that a session belongs to."""
        resources: Self = session.info[_OWNER]
        return resources

    def client_of(self, entry: CatalogueEntry) -> ProviderClient:
        """A client of one provider of the catalogue. Raises app.oauth.NotSetUp."""
        return ProviderClient(entry, self.settings, self.sandbox)

    async def close(self) -> None:
        """Close the connections. New ones are made when somebody asks for one."""
        await self.engine.dispose()
