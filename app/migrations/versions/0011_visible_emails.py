"""E-mail addresses without invisible characters, and domains without the dot of the root.

Where two users differ in nothing else, the unique constraint stops this migration, as it does the one before.

Revision ID: 0011
Revises: 0010
Create Date: 2026-11-28 08:50:00+00:00
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# As it was when this was written: app.emails may learn of more.
INVISIBLE = "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
NORMAL = f"rtrim(regexp_replace(email, '{INVISIBLE}', '', 'g'), '.')"


def upgrade() -> None:
    """Normalise what is there."""
    op.execute(f"UPDATE users SET email = {NORMAL}, updated_at = now() WHERE email <> {NORMAL}")  # noqa: S608


def downgrade() -> None:
    """Nothing: how the addresses were written before is not known any more."""
