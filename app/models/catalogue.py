"""The institutions and aggregators that a user can choose from: reference rows, seeded by a migration."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, Enum, false
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class CatalogueKind(StrEnum):
    """How a provider is spoken to: OAuth2 at its endpoints, or the sandbox inside this process."""

    OAUTH2 = "oauth2"
    SANDBOX = "sandbox"


class CatalogueEntry(Base):
    """One kind of provider. Those that are not available yet may lack their endpoints."""

    __tablename__ = "catalogue_entries"
    __table_args__ = (
        CheckConstraint("key ~ '^[a-z][a-z0-9_]*$'", name="key_format"),
        CheckConstraint(
            "NOT available OR kind = 'sandbox' OR (authorize_url IS NOT NULL AND token_url IS NOT NULL)",
            name="available_has_endpoints",
        ),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str]
    kind: Mapped[CatalogueKind] = mapped_column(
        Enum(
            CatalogueKind,
            native_enum=False,
            create_constraint=True,
            length=16,
            name="kind",
            values_callable=lambda kinds: [kind.value for kind in kinds],
        )
    )
    authorize_url: Mapped[str | None]
    token_url: Mapped[str | None]
    revoke_url: Mapped[str | None]
    accounts_url: Mapped[str | None]
    scopes: Mapped[list[str]] = mapped_column(server_default="{}")
    available: Mapped[bool] = mapped_column(server_default=false())
