"""Building the schema in an empty database, in a process of its own: `python -m greenroom.database.migrate ROOT`.

A process of its own, so that the test process imports the application only after it has its own database, and so that
an env.py that starts an event loop finds none running. The engine is a synchronous one, on psycopg.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, Connection, create_engine, make_url
from sqlalchemy.pool import NullPool

from greenroom import urls
from greenroom.config import Config, find
from greenroom.database import revisions
from greenroom.errors import GreenroomError, TemplateError
from greenroom.guard import Guard
from greenroom.places import explained, indented

if TYPE_CHECKING:
    import psycopg

_URL: Final = "GREENROOM_MIGRATE_URL"

_ASYNCHRONOUS: Final = ("async_engine_from_config", "create_async_engine", "AsyncEngine")
"""What gives away an env.py that makes an asynchronous engine of the URL that it is handed."""


def run(config: Config, url: URL) -> None:
    """Build the schema in the empty database at `url`, and seed it.

    Args:
        config: The project.
        url: The database, as the role that is to own what is in it.

    Raises:
        TemplateError: It failed, with the place in the project's own files and the error.
    """
    application = urls.for_driver(url, config.driver)
    environ = os.environ | urls.environment(application, config.database_url, config.environment)
    environ[_URL] = url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(config.root)],
        env=environ,
        cwd=config.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise TemplateError(
            f"The schema could not be built.\n{indented(done.stdout)}",
            hint="correct it, then: greenroom migrate (GREENROOM_TRACEBACK=1 shows the whole traceback)",
        )


def main() -> None:
    """Build the schema in the database that the environment names."""
    config = find(Path(sys.argv[1]))
    url = make_url(os.environ.pop(_URL))
    sys.path[:0] = config.import_paths
    # An env.py that takes its URL from somewhere else must not migrate somebody else's database.
    Guard(url, names={str(url.database)}, variable=config.database_url).install()
    try:
        build(config, url)
    except Exception as error:  # noqa: BLE001 - whatever a migration raises is shown to the user
        if os.environ.get("GREENROOM_TRACEBACK"):
            traceback.print_exc()
        sys.exit(str(error) if isinstance(error, GreenroomError) else explained(error, config.root))


def build(config: Config, url: URL) -> None:
    """Build the schema and seed it, in this process."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if config.alembic is not None:
            _upgrade(config, connection)
        elif config.metadata is not None:
            _load(config.metadata).create_all(connection)
        for path in (*config.sql, *config.seed):
            _execute(connection, config.root / path)
        connection.commit()


def _upgrade(config: Config, connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config as AlembicConfig

    path = config.root / str(config.alembic)
    # Alembic 1.16 and newer also read pyproject.toml.
    alembic = AlembicConfig(toml_file=path) if path.suffix == ".toml" else AlembicConfig(path)
    alembic.attributes["connection"] = connection
    url = connection.engine.url
    env = revisions.folders(config)[0] / "env.py"
    if env.is_file() and any(name in env.read_text(encoding="utf-8") for name in _ASYNCHRONOUS):
        url = urls.for_driver(url, config.driver)
    # For an env.py that ignores the connection: the URL that the file names is not the one to migrate.
    alembic.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
    command.upgrade(alembic, "heads")


def _execute(connection: Connection, path: Path) -> None:
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    try:
        if not connection.in_transaction():
            connection.begin()  # what goes straight to the driver begins none that commit() would know of
        # Straight to the driver: the file may hold many statements, colons and percent signs.
        driver.execute(path.read_bytes())
    except Exception as error:
        error.add_note(f"in {path}")
        raise


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main()
