"""Catalogue entries say how they are spoken to, and have endpoints for revocation and accounts.

Revision ID: 0007
Revises: 0006
Create Date: 2025-09-15 13:02:44+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, fill them in, then require of an available entry that it can be spoken to."""
    op.add_column("catalogue_entries", sa.Column("kind", sa.String(16), nullable=True))
    op.add_column("catalogue_entries", sa.Column("revoke_url", sa.Text(), nullable=True))
    op.add_column("catalogue_entries", sa.Column("accounts_url", sa.Text(), nullable=True))
    op.execute("UPDATE catalogue_entries SET kind = CASE key WHEN 'sandbox' THEN 'sandbox' ELSE 'oauth2' END")
    op.execute(
        "UPDATE catalogue_entries SET accounts_url = 'https://api.schwabapi.com/trader/v1/accounts'"
        " WHERE key = 'schwab'"
    )
    op.alter_column("catalogue_entries", "kind", existing_type=sa.String(16), nullable=False)
    op.create_check_constraint(
        op.f("ck_catalogue_entries_kind"), "catalogue_entries", "kind IN ('oauth2', 'sandbox')"
    )
    op.create_check_constraint(
        op.f("ck_catalogue_entries_available_has_endpoints"),
        "catalogue_entries",
        "NOT available OR kind = 'sandbox' OR (authorize_url IS NOT NULL AND token_url IS NOT NULL)",
    )


def downgrade() -> None:
    """Drop the columns, and the constraints on them first."""
    for name in ("ck_catalogue_entries_available_has_endpoints", "ck_catalogue_entries_kind"):
        op.drop_constraint(op.f(name), "catalogue_entries", type_="check")
    for column in ("accounts_url", "revoke_url", "kind"):
        op.drop_column("catalogue_entries", column)
