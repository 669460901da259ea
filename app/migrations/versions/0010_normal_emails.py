"""E-mail addresses in one Unicode form: NFKC, and domains decoded.

Where two users differ in nothing but the form of their address, the unique constraint stops this migration: which of the
two accounts to keep is for a human to say. Printed as a script it leaves domains in their ASCII form (xn--…) alone: no
SQL decodes them.

Revision ID: 0010
Revises: 0009
Create Date: 2026-11-26 16:40:00+00:00
"""

import idna
import sqlalchemy as sa
from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NORMAL = "normalize(lower(normalize(email, NFKC)), NFKC)"


def upgrade() -> None:
    """Normalise what is there."""
    op.execute(f"UPDATE users SET email = {NORMAL}, updated_at = now() WHERE email <> {NORMAL}")  # noqa: S608
    if context.is_offline_mode():
        return
    users = sa.table("users", sa.column("id"), sa.column("email"), sa.column("updated_at"))
    encoded = sa.select(users.c.id, users.c.email).where(users.c.email.like("%@%xn--%"))
    for identifier, email in op.get_bind().execute(encoded).all():
        local, _, domain = email.rpartition("@")
        changes = {"email": f"{local}@{idna.decode(domain)}", "updated_at": sa.func.now()}
        op.execute(users.update().where(users.c.id == identifier).values(changes))


def downgrade() -> None:
    """Nothing: how the addresses were written before is not known any more."""
