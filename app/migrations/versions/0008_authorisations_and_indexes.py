"""Authorisations are good for one use; indexes for the lists; checks on what the code relied on so far.

Revision ID: 0008
Revises: 0007
Create Date: 2025-10-28 09:55:18+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Shorten what would break the new checks, then add it all."""
    op.add_column("connections", sa.Column("authorisation", sa.Text(), nullable=True))
    op.execute("UPDATE providers SET alias = left(alias, 80) WHERE char_length(alias) > 80")
    op.create_check_constraint(
        op.f("ck_providers_alias_length"), "providers", "char_length(alias) BETWEEN 1 AND 80"
    )
    op.create_check_constraint(
        op.f("ck_connections_counters"), "connections", "error_count >= 0 AND sync_count >= 0"
    )
    op.create_index(op.f("ix_connections_status"), "connections", ["status"])
    op.create_index(op.f("ix_providers_key"), "providers", ["key"])
    op.create_index(op.f("ix_providers_user_id_created_at_id"), "providers", ["user_id", "created_at", "id"])


def downgrade() -> None:
    """Drop what was added."""
    op.drop_index(op.f("ix_providers_user_id_created_at_id"), table_name="providers")
    op.drop_index(op.f("ix_providers_key"), table_name="providers")
    op.drop_index(op.f("ix_connections_status"), table_name="connections")
    op.drop_constraint(op.f("ck_connections_counters"), "connections", type_="check")
    op.drop_constraint(op.f("ck_providers_alias_length"), "providers", type_="check")
    op.drop_column("connections", "authorisation")
