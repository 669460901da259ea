"""E-mail addresses in lower case, from now on by a constraint.

Where two users differ in nothing but the case of their address, the unique constraint stops this migration:
which of the two accounts to keep is for a human to say.

Revision ID: 0004
Revises: 0003
Create Date: 2025-04-11 08:47:13+00:00
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Normalise what is there, then insist."""
    op.execute("UPDATE users SET email = lower(email), updated_at = now() WHERE email <> lower(email)")
    op.create_check_constraint(op.f("ck_users_email_lower"), "users", "email = lower(email)")


def downgrade() -> None:
    """Stop insisting. How the addresses were written before is not known any more."""
    op.drop_constraint(op.f("ck_users_email_lower"), "users", type_="check")
