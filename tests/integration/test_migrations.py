"""The migrations: they make what the models say, go both ways, and take the data along."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from app.models import Base
from tests.fixtures import Configure

SCHEMA = """
SELECT attrelid::regclass::text AS on_table, attname AS name, format_type(atttypid, atttypmod) AS definition,
       attnotnull, attidentity, pg_get_expr(adbin, adrelid) AS default
  FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
 WHERE attnum > 0 AND NOT attisdropped
   AND attrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)
UNION ALL
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'  -- attnotnull tells
UNION ALL
SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'public'
ORDER BY on_table, name, definition"""

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def config() -> Config:
    """Alembic's configuration, as `alembic` on the command line has it."""
    return Config(toml_file=PYPROJECT)


@pytest.fixture
def scratch(scratch_database: URL) -> Iterator[Connection]:
    """A connection to an empty database."""
    engine = create_engine(scratch_database, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


class Migrations:
    """Alembic on one connection."""

    def __init__(self, config: Config, connection: Connection) -> None:
        config.attributes["connection"] = connection
        self._config = config
        self._connection = connection

    def upgrade(self, revision: str) -> None:
        """Migrate up to a revision."""
        command.upgrade(self._config, revision)

    def downgrade(self, revision: str) -> None:
        """Migrate down to a revision."""
        command.downgrade(self._config, revision)

    def execute(self, statement: str) -> None:
        """Change the data."""
        self._connection.execute(text(statement))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Look at the data."""
        return [tuple(row) for row in self._connection.execute(text(query))]

    def schema(self) -> list[tuple[Any, ...]]:
        """Columns, constraints and indexes, as the database describes them."""
        return self.rows(SCHEMA)


@pytest.fixture
def migrations(config: Config, scratch: Connection) -> Migrations:
    """Alembic on an empty database."""
    return Migrations(config, scratch)


def test_there_is_one_head(config: Config) -> None:
    """The revisions are one line, numbered, from the first to the last."""
    scripts = ScriptDirectory.from_config(config)

    revisions = [script.revision for script in scripts.walk_revisions()][::-1]

    assert len(scripts.get_heads()) == 1
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


def test_models_are_what_the_migrations_make(engine: Engine) -> None:
    """Autogeneration finds nothing to do: tables, columns, types, defaults, indexes and keys are the same."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        differences = compare_metadata(context, Base.metadata)

    assert differences == []


def test_check_constraints_are_what_the_migrations_make(migrations: Migrations, engine: Engine) -> None:
    """What autogeneration does not look at is the same as well: checks, and everything else, to the letter."""
    with engine.connect() as connection:
        migrated = Migrations(Config(), connection).schema()

    Base.metadata.create_all(migrations._connection)

    assert migrations.schema() == [row for row in migrated if row[0] != "alembic_version"]


def test_upgrade_from_nothing(migrations: Migrations, engine: Engine) -> None:
    """On an empty database the migrations make the schema that the tests run on."""
    migrations.upgrade("head")

    with engine.connect() as connection:
        assert migrations.schema() == Migrations(Config(), connection).schema()


def test_down_and_up_again(migrations: Migrations) -> None:
    """Each revision can be undone, and done again, step by step; nothing is left at the bottom."""
    migrations.upgrade("0001")
    schemas = [migrations.schema()]
    for number in range(2, 9):
        migrations.upgrade(f"{number:04}")
        schemas.append(migrations.schema())

    for schema in schemas[-2::-1]:
        migrations.downgrade("-1")
        assert migrations.schema() == schema
    migrations.downgrade("base")
    assert migrations.rows("SELECT * FROM alembic_version") == []
    assert {table for table, *_ in migrations.schema()} == {"alembic_version"}

    migrations.upgrade("head")
    assert migrations.schema() == schemas[-1]


def test_seeds(migrations: Migrations) -> None:
    """0002 fills the catalogue; undone, it removes its entries and the providers made of them, and no others."""
    migrations.upgrade("0002")
    assert len(migrations.rows("SELECT key FROM catalogue_entries")) == 5
    migrations.execute("INSERT INTO users (email, password_hash) VALUES ('ada@example.org', 'x')")
    migrations.execute("INSERT INTO catalogue_entries (key, name, description) VALUES ('own', 'Own', '')")
    migrations.execute(
        "INSERT INTO providers (user_id, key, alias) SELECT 1, key, key FROM catalogue_entries"
    )

    migrations.downgrade("0001")

    assert migrations.rows("SELECT key FROM catalogue_entries") == [("own",)]
    assert migrations.rows("SELECT alias FROM providers") == [("own",)]


def test_providers_get_a_connection(migrations: Migrations) -> None:
    """0003 gives each provider that exists a pending connection."""
    migrations.upgrade("0002")
    migrations.execute("INSERT INTO users (email, password_hash) VALUES ('ada@example.org', 'x')")
    migrations.execute(
        "INSERT INTO providers (user_id, key, alias) VALUES (1, 'sandbox', 'A'), (1, 'schwab', 'B')"
    )

    migrations.upgrade("0003")

    assert migrations.rows(
        "SELECT alias, status, error_count FROM connections JOIN providers p ON p.id = provider_id ORDER BY alias"
    ) == [("A", "pending", 0), ("B", "pending", 0)]


def test_addresses_become_lower_case_and_names(migrations: Migrations) -> None:
    """0004 writes addresses in lower case, and dates that; 0005 makes names of what stands before the @."""
    migrations.upgrade("0003")
    migrations.execute(
        "INSERT INTO users (email, password_hash, updated_at)"
        " VALUES ('Ada.L@Example.org', 'x', '2025-01-01Z'), ('grace@example.org', 'x', '2025-01-01Z')"
    )

    migrations.upgrade("0005")

    assert migrations.rows(
        "SELECT email, name, last_login_at, updated_at > '2025-01-02Z' FROM users ORDER BY id"
    ) == [("ada.l@example.org", "ada.l", None, True), ("grace@example.org", "grace", None, False)]


def test_addresses_that_differ_in_case_alone(migrations: Migrations) -> None:
    """0004 stops, and changes nothing, where two accounts would become one."""
    migrations.upgrade("0003")
    migrations.execute(
        "INSERT INTO users (email, password_hash) VALUES ('Ada@example.org', 'x'), ('ada@example.org', 'x')"
    )

    with pytest.raises(IntegrityError, match="uq_users_email"):
        migrations.upgrade("0004")

    assert migrations.rows("SELECT email FROM users ORDER BY id") == [
        ("Ada@example.org",),
        ("ada@example.org",),
    ]
    assert migrations.rows("SELECT version_num FROM alembic_version") == [("0003",)]


def test_catalogue_entries_get_a_kind(migrations: Migrations) -> None:
    """0007 tells the sandbox from the rest, and knows where Schwab's accounts are."""
    migrations.upgrade("0006")

    migrations.upgrade("0007")

    assert migrations.rows(
        "SELECT key, kind, accounts_url FROM catalogue_entries WHERE available ORDER BY key"
    ) == [
        ("sandbox", "sandbox", None),
        ("schwab", "oauth2", "https://api.schwabapi.com/trader/v1/accounts"),
    ]
    assert migrations.rows("SELECT DISTINCT kind FROM catalogue_entries WHERE NOT available") == [("oauth2",)]


def test_long_aliases_are_shortened(migrations: Migrations) -> None:
    """0008 cuts aliases at 80 characters, whatever their length in bytes."""
    migrations.upgrade("0007")
    migrations.execute("INSERT INTO users (email, password_hash, name) VALUES ('ada@example.org', 'x', 'x')")
    migrations.execute(
        "INSERT INTO providers (user_id, key, alias)"
        " VALUES (1, 'sandbox', repeat('ü', 200)), (1, 'sandbox', repeat('x', 80))"
    )

    migrations.upgrade("0008")

    assert migrations.rows("SELECT alias FROM providers ORDER BY alias") == [("x" * 80,), ("ü" * 80,)]


def test_logging_is_left_alone(migrations: Migrations) -> None:
    """Whoever migrates keeps the loggers, levels and handlers that there were."""
    logger, root = logging.getLogger("some.existing.logger"), logging.getLogger()
    before = root.level, list(root.handlers)

    migrations.upgrade("0001")

    assert not logger.disabled
    assert (root.level, root.handlers) == before


def test_migrations_as_a_script(config: Config) -> None:
    """`alembic upgrade head --sql` prints the statements, for somebody else to run, and needs no database."""
    config.output_buffer = io.StringIO()

    command.upgrade(config, "head", sql=True)

    script = config.output_buffer.getvalue()
    assert script.count("CREATE TABLE") == 1 + len(Base.metadata.tables)
    assert "INSERT INTO catalogue_entries" in script
    assert "UPDATE users SET email = lower(email)" in script
    assert script.rstrip().endswith("COMMIT;")


def test_script_does_the_same(config: Config, migrations: Migrations, engine: Engine) -> None:
    """The printed statements make the same schema and the same seeds as the migrations themselves."""
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)

    migrations._connection.exec_driver_sql(config.output_buffer.getvalue())

    query = "SELECT key, name, scopes, available, kind, accounts_url FROM catalogue_entries ORDER BY key"
    with engine.connect() as connection:
        migrated = Migrations(Config(), connection)
        assert migrations.schema() == migrated.schema()
        assert migrations.rows(query) == migrated.rows(query)


def test_database_of_the_settings(config: Config, scratch_database: URL, configure: Configure) -> None:
    """Without a connection the migrations run on DATABASE_URL: through psycopg, where the service has asyncpg."""
    url = scratch_database.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
    configure(DATABASE_URL=url)

    command.upgrade(config, "0001")

    engine = create_engine(scratch_database, poolclass=NullPool)
    assert "users" in inspect(engine).get_table_names()
