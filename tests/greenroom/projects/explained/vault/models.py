"""A provider has a connection, and that has a token: relationships as they are by default, loaded when they are read."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, func
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


metadata = Base.metadata


class Provider(Base):
    __tablename__ = "providers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    notes: Mapped[str | None] = mapped_column(default="notes", deferred=True)
    changed: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.clock_timestamp())
    connection: Mapped[Connection | None] = relationship(back_populates="provider")

    @property
    def connected(self) -> bool:
        return self.connection is not None  # here: lazy_relationship_in_a_property


class Connection(AsyncAttrs, Base):
    __tablename__ = "connections"

    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id"))
    provider: Mapped[Provider] = relationship(back_populates="connection")
    tokens: Mapped[list[Token]] = relationship(back_populates="connection")


class Token(Base):
    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id"))
    connection: Mapped[Connection] = relationship(back_populates="tokens")
