"""Alembic's environment: the migrations run synchronously, through psycopg.

Whoever runs them from Python may hand a connection in as `config.attributes["connection"]`; otherwise
DATABASE_URL says where. Logging is left to whoever runs them.
"""

from typing import Any

from alembic import context
from sqlalchemy import create_engine, pool

from app.models import Base
from app.settings import get_settings


def drop_empty(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Write no revision that would change nothing."""
    if context.config.cmd_opts and getattr(context.config.cmd_opts, "autogenerate", False):
        (script,) = directives
        if script.upgrade_ops.is_empty():
            directives.clear()
            context.config.print_stdout("The models and the migrations agree: there is nothing to write.")


def run(**target: Any) -> None:
    """Run the migrations on a connection, or print them for a dialect (`--sql`)."""
    context.configure(
        target_metadata=Base.metadata,
        compare_server_default=True,
        process_revision_directives=drop_empty,
        **target,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run(dialect_name="postgresql", literal_binds=True)
elif handed_in := context.config.attributes.get("connection"):
    run(connection=handed_in)
else:
    engine = create_engine(get_settings().sync_database_url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        run(connection=connection)
