"""One word for the audit: `audit_log` becomes `audit_entries`, as its model is called.

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-26 16:10:00+00:00
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OLD, NEW = "audit_log", "audit_entries"


def upgrade() -> None:
    """Rename the table, and what is named after it."""
    _rename(OLD, NEW)


def downgrade() -> None:
    """Give them their old names back."""
    _rename(NEW, OLD)


def _rename(old: str, new: str) -> None:
    op.rename_table(old, new)
    # The primary key's index goes by the name of its constraint.
    for constraint in ("pk_{}", "fk_{}_user_id_users"):
        op.execute(
            f"ALTER TABLE {new} RENAME CONSTRAINT {constraint.format(old)} TO {constraint.format(new)}"
        )
    op.execute(f"ALTER INDEX ix_{old}_user_id_id RENAME TO ix_{new}_user_id_id")
    op.execute(f"ALTER SEQUENCE {old}_id_seq RENAME TO {new}_id_seq")
