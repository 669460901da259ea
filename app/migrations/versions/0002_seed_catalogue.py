"""The catalogue's first entries.

Revision ID: 0002
Revises: 0001
Create Date: 2025-03-06 14:30:02+00:00
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

catalogue_entries = sa.table(
    "catalogue_entries",
    sa.column("key", sa.Text()),
    sa.column("name", sa.Text()),
    sa.column("description", sa.Text()),
    sa.column("authorize_url", sa.Text()),
    sa.column("token_url", sa.Text()),
    sa.column("scopes", sa.ARRAY(sa.Text())),
    sa.column("available", sa.Boolean()),
)

ENTRIES: list[dict[str, Any]] = [
    {
        "key": "sandbox",
        "name": "Sandbox",
        "description": "A pretend bank with two accounts, for trying things out.",
        "authorize_url": None,
        "token_url": None,
        "scopes": ["accounts"],
        "available": True,
    },
    {
        "key": "schwab",
        "name": "Charles Schwab",
        "description": "Brokerage accounts and positions.",
        "authorize_url": "https://api.schwabapi.com/v1/oauth/authorize",
        "token_url": "https://api.schwabapi.com/v1/oauth/token",
        "scopes": ["readonly"],
        "available": True,
    },
    {
        "key": "fidelity",
        "name": "Fidelity",
        "description": "Brokerage and retirement accounts.",
        "authorize_url": None,
        "token_url": None,
        "scopes": ["accounts", "positions"],
        "available": False,
    },
    {
        "key": "chase",
        "name": "Chase",
        "description": "Checking, savings and card accounts.",
        "authorize_url": None,
        "token_url": None,
        "scopes": ["accounts", "transactions"],
        "available": False,
    },
    {
        "key": "plaid",
        "name": "Plaid",
        "description": "An aggregator of many smaller institutions.",
        "authorize_url": None,
        "token_url": None,
        "scopes": ["accounts", "transactions", "identity"],
        "available": False,
    },
]


def upgrade() -> None:
    """Insert the entries."""
    op.bulk_insert(catalogue_entries, ENTRIES)


def downgrade() -> None:
    """Remove them, and the providers that users made of them."""
    keys = [entry["key"] for entry in ENTRIES]
    providers = sa.table("providers", sa.column("key", sa.Text()))
    op.execute(providers.delete().where(providers.c.key.in_(keys)))
    op.execute(catalogue_entries.delete().where(catalogue_entries.c.key.in_(keys)))
