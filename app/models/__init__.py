"""The tables of the service, as SQLAlchemy models."""

from app.models.audit import AuditEntry
from app.models.base import Base
from app.models.catalogue import CatalogueEntry
from app.models.connection import Connection, ConnectionStatus, Token
from app.models.provider import Provider
from app.models.user import User

__all__ = [
    "AuditEntry",
    "Base",
    "CatalogueEntry",
    "Connection",
    "ConnectionStatus",
    "Provider",
    "Token",
    "User",
]
