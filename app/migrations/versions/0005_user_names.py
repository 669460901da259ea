"""Users have a name (so far: what stands before the @) and a time of the last login.

Revision ID: 0005
Revises: 0004
Create Date: 2025-05-20 16:21:37+00:00
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, fill in the names, then require them."""
    op.add_column("users", sa.Column("name", sa.Text(), nullable=True))
    op.execute("UPDATE users SET name = split_part(email, '@', 1)")
    op.alter_column("users", "name", existing_type=sa.Text(), nullable=False)
    op.add_column("users", sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("users", "last_login_at")
    op.drop_column("users", "name")
