"""Alembic's own configuration for one database: what an env.py finds, whichever kind it is.

Imported in the processes that run migrations, and nowhere else: Alembic takes longer to import than all else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alembic.config import Config as AlembicConfig

from greenroom import urls
from greenroom.database import revisions

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

    from greenroom.config import Config

_ASYNCHRONOUS: Final = ("async_engine_from_config", "create_async_engine", "AsyncEngine")
"""What gives away an env.py that makes an asynchronous engine of the URL that it is handed."""


def configured_url(config: Config, url: URL, application: URL) -> URL:
    """The URL that Alembic's configuration is to name, for an env.py that makes an engine of it.

    Args:
        config: The project.
        url: The database, as the role that owns what is in it, for psycopg.
        application: The same as the application has it.
    """
    env = revisions.folders(config)[0] / "env.py"
    asynchronous = env.is_file() and any(name in env.read_text(encoding="utf-8") for name in _ASYNCHRONOUS)
    return application if asynchronous else urls.for_driver(application, url.drivername)


def alembic_config(config: Config, url: URL, connection: Connection) -> AlembicConfig:
    """The configuration of a project's Alembic, for one database.

    Args:
        config: The project.
        url: From `configured_url`. The URL that the file names is not the one to migrate.
        connection: For an env.py that takes one: `config.attributes["connection"]`.
    """
    path = config.root / str(config.alembic)
    # Alembic 1.16 and newer also read pyproject.toml.
    alembic = AlembicConfig(toml_file=path) if path.suffix == ".toml" else AlembicConfig(path)
    alembic.attributes["connection"] = connection
    alembic.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    return alembic
