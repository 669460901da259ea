"""A provider's one connection and the connection's one token."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, Enum, ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, EncryptedText, Timestamps

if TYPE_CHECKING:
    from app.models.provider import Provider


class ConnectionStatus(StrEnum):
    """Where a connection is in its life."""

    PENDING = "pending"  # never authorised yet
    ACTIVE = "active"
    EXPIRED = "expired"  # the tokens are no longer accepted: refresh, or authorise again
    REVOKED = "revoked"  # disconnected by the user
    ERROR = "error"  # the provider failed to answer the last time


class Connection(Timestamps, Base):
    """The state of the link to a provider. `error_count` counts the failures since the last success."""

    __tablename__ = "connections"
    __table_args__ = (CheckConstraint("error_count >= 0 AND sync_count >= 0", name="counters"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    provider_id: Mapped[UUID] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"), unique=True)
    status: Mapped[ConnectionStatus] = mapped_column(
        Enum(
            ConnectionStatus,
            native_enum=False,
            create_constraint=True,
            length=16,
            name="status",
            values_callable=lambda statuses: [status.value for status in statuses],
        ),
        server_default=ConnectionStatus.PENDING.value,
        index=True,
    )
    error_count: Mapped[int] = mapped_column(server_default="0")
    sync_count: Mapped[int] = mapped_column(server_default="0")
    last_error: Mapped[str | None]
    last_sync_at: Mapped[datetime | None]
    # Fingerprint of the authorisation under way: it makes the `state` of a round trip good for one use.
    authorisation: Mapped[str | None] = mapped_column(info={"secret": True})

    provider: Mapped["Provider"] = relationship(back_populates="connection")
    token: Mapped["Token | None"] = relationship(back_populates="connection", cascade="all, delete-orphan")


class Token(Timestamps, Base):
    """What the provider gave us to act for the user, encrypted at rest.

    `version` counts the rotations; an UPDATE that was prepared from another version than the row has fails.
    """

    __tablename__ = "tokens"

    connection_id: Mapped[UUID] = mapped_column(
        ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True
    )
    access_token: Mapped[str] = mapped_column(EncryptedText, info={"secret": True})
    refresh_token: Mapped[str | None] = mapped_column(EncryptedText, info={"secret": True})
    scopes: Mapped[list[str]] = mapped_column(server_default="{}")
    expires_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(nullable=False)

    connection: Mapped[Connection] = relationship(back_populates="token")

    __mapper_args__ = {"eager_defaults": True, "version_id_col": version}  # noqa: RUF012
