"""What all programs share: three models with SQLAlchemy's default lazy loading, and services that commit."""

from __future__ import annotations

from sqlalchemy import ForeignKey, exc, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Provider(Base):
    __tablename__ = "provider"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    connection: Mapped[Connection | None] = relationship(back_populates="provider")


class Connection(Base):
    __tablename__ = "connection"
    id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(ForeignKey("provider.id"), unique=True)
    provider: Mapped[Provider] = relationship(back_populates="connection")
    token: Mapped[Token | None] = relationship(back_populates="connection")


class Token(Base):
    __tablename__ = "token"
    id: Mapped[int] = mapped_column(primary_key=True)
    connection_id: Mapped[int] = mapped_column(ForeignKey("connection.id"), unique=True)
    value: Mapped[str]
    connection: Mapped[Connection] = relationship(back_populates="token")


metadata = Base.metadata


async def create(session: AsyncSession, name: str) -> Provider:
    provider = Provider(name=name)
    session.add(provider)
    await session.commit()
    return provider


async def count(session: AsyncSession) -> int:
    return len((await session.scalars(select(Provider))).all())


async def store_token(session: AsyncSession, provider_id: int, value: str) -> None:
    """As the story's service had it: the second line after the flush is the bug that its asynchronous tests had found."""
    connection = Connection(provider_id=provider_id)
    session.add(connection)
    await session.flush()
    if connection.token is None:
        session.add(Token(connection_id=connection.id, value=value))
    await session.commit()


async def store_token_mended(session: AsyncSession, provider_id: int, value: str) -> None:
    """The same, with what the relationship holds said at construction."""
    connection = Connection(provider_id=provider_id, token=Token(value=value))
    session.add(connection)
    await session.commit()


async def create_once(session: AsyncSession, name: str) -> bool:
    """A service that expects a conflict: it rolls back, says so, and its session goes on."""
    session.add(Provider(name=name))
    try:
        await session.commit()
    except exc.IntegrityError:
        await session.rollback()
        return False
    return True
