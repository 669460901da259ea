"""What all models share: the naming of constraints, the column types, the timestamps, the encrypted text."""

from datetime import datetime
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from sqlalchemy import ARRAY, DateTime, Dialect, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from app.security import Security
from app.settings import get_settings

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


# A column's type is of all applications in a process, and an engine's dialect of one.
_keys: WeakKeyDictionary[Dialect, Security] = WeakKeyDictionary()


class Base(DeclarativeBase):
    """Base class of the models."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        str: Text,
    }
    # What the database computes on INSERT and UPDATE comes back in the same statement (RETURNING): a later
    # SELECT on attribute access would be I/O outside of an await.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012


class Timestamps:
    """Mixin: when a row was made and last changed, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class EncryptedText(TypeDecorator[str]):
    """Text that is plain in Python and encrypted in the database, under the keys of the engine's application.

    An engine of no application, such as a test's own, has the keys of the environment.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Encrypt on the way in."""
        return None if value is None else _keys_of(dialect).encrypt(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Decrypt on the way out."""
        return None if value is None else _keys_of(dialect).decrypt(value)


def encrypt_with(security: Security, dialect: Dialect) -> None:
    """Have what goes through an engine, the one of this dialect, encrypted with an application's keys."""
    _keys[dialect] = security


def _keys_of(dialect: Dialect) -> Security:
    return _keys.get(dialect) or Security(get_settings())
