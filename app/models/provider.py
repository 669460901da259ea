"""What a user has set up."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, Timestamps
from app.models.catalogue import CatalogueEntry

if TYPE_CHECKING:
    from app.models.connection import Connection
    from app.models.user import User


class Provider(Timestamps, Base):
    """A user's own instance of a catalogue entry, under an alias that is unique among the user's."""

    __tablename__ = "providers"
    __table_args__ = (
        UniqueConstraint("user_id", "alias"),
        CheckConstraint("char_length(alias) BETWEEN 1 AND 80", name="alias_length"),
        Index(None, "user_id", "created_at", "id"),  # the order of a user's list
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(ForeignKey("catalogue_entries.key"), index=True)
    alias: Mapped[str]

    user: Mapped["User"] = relationship(back_populates="providers")
    entry: Mapped[CatalogueEntry] = relationship()
    connection: Mapped["Connection"] = relationship(back_populates="provider", cascade="all, delete-orphan")
