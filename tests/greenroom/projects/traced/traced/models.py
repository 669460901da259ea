"""A table, and listeners that SQLAlchemy calls in its greenlets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, Session, UOWTransaction, mapped_column

seen: list[str] = []


class Base(DeclarativeBase):
    """The base of the models."""


class Item(Base):
    """A name, once."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


@event.listens_for(Item, "before_insert")
def before_insert(mapper: Mapper[Any], connection: Connection, item: Item) -> None:
    """Called in the middle of a flush."""
    if item.name == "forbidden":  # partial
        raise ValueError(item.name)  # not run
    seen.append(item.name)


@event.listens_for(Session, "after_flush")
def after_flush(session: Session, context: UOWTransaction) -> None:
    """Called at the end of a flush."""
    for item in session.new:
        if isinstance(item, Item):  # partial
            flushed = f"flushed {item.name}"
            seen.append(flushed)
    if not session.new:  # partial
        seen.append("nothing")  # not run
