"""Services with the mistakes of asynchronous SQLAlchemy, each marked at its line with the name of its test."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from vault.models import Connection, Provider


async def provider_named(session: AsyncSession, name: str) -> Provider:
    return (await session.scalars(select(Provider).where(Provider.name == name))).one()


async def has_connection(session: AsyncSession, name: str) -> bool:
    provider = (await session.scalars(select(Provider).where(Provider.name == name))).one()
    return provider.connection is not None  # here: lazy_relationship


async def has_connection_got(session: AsyncSession, key: int) -> bool:
    provider = await session.get(Provider, key)
    return provider.connection is not None  # here: lazy_relationship_got


async def token_count(session: AsyncSession) -> int:
    connections = (await session.scalars(select(Connection))).all()
    return sum(len(connection.tokens) for connection in connections)  # here: lazy_relationships_in_a_loop


async def connect(session: AsyncSession, provider_id: int) -> bool:
    connection = Connection(provider_id=provider_id)
    session.add(connection)
    await session.flush()
    return bool(connection.tokens)  # here: lazy_relationship_of_a_new_object


async def create(session: AsyncSession, name: str) -> str:
    provider = Provider(name=name)
    session.add(provider)
    await session.commit()
    return provider.name  # here: expired_by_commit


async def create_twice(session: AsyncSession, name: str) -> str:
    provider = await provider_named(session, name)
    session.add(Provider(name=name))
    try:
        await session.commit()
    except IntegrityError:
        await session.rollback()
    return provider.name  # here: expired_by_rollback


async def rename(session: AsyncSession, name: str) -> object:
    provider = await provider_named(session, name)
    provider.name = "renamed"
    await session.commit()
    return provider.changed  # here: expired_by_the_database


async def notes(session: AsyncSession, name: str) -> str | None:
    provider = await provider_named(session, name)
    return provider.notes  # here: deferred_column


async def count_in_sync_code(session: AsyncSession) -> int:
    return len(session.sync_session.scalars(select(Provider)).all())  # here: synchronous_call


async def is_connected(session: AsyncSession, name: str) -> bool:
    provider = (await session.scalars(select(Provider).where(Provider.name == name))).one()
    return provider.connected
