"""A project's settings, from `[tool.greenroom]` in its pyproject.toml."""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom import toml
from greenroom.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import URL

EXAMPLE: Final = '[tool.greenroom] with at least: app = "app.main:app" and alembic = "alembic.ini"'

TRIED_ROOT: Final = "GREENROOM_TRIED_ROOT"
TRIED: Final = "GREENROOM_TRIED"
"""A project, and the file whose `[tool.greenroom]` counts there: `greenroom init` tries settings before it writes them."""

ASYNC_TESTS: Final = "GREENROOM_ASYNC_TESTS"
"""Set it to 1 to have asynchronous tests run without the setting `async_tests`."""

_WHERE: Final = "correct it in pyproject.toml"

_IMPORT_STRING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?")
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")


_PYTESTS: Final = {
    "pytest.toml": "pytest",
    ".pytest.toml": "pytest",
    "pytest.ini": "pytest",
    ".pytest.ini": "pytest",
    "pyproject.toml": "tool.pytest",
    "tox.ini": "pytest",
    "setup.cfg": "tool:pytest",
}
"""The files that pytest takes its settings from, in its order, each with their section there."""

CHOICES: Final = {
    "lifespan": ("run", "test"),
    "connect": ("tcp", "socket"),
    "lazy_loads": ("allow", "fail"),
    "n_plus_one": ("off", "warn", "fail"),
    "leftover_tasks": ("fail", "warn", "cancel", "ignore"),
    "migration_downgrades": ("optional", "required"),
}

OF_A_DATABASE: Final = (
    "database_url", "driver", "environment", "alembic", "metadata", "sql", "schema_command", "before", "seed", "extensions",
)  # fmt: skip
"""The settings of a table `[tool.greenroom.databases.NAME]`."""

SOURCES: Final = ("alembic", "metadata", "sql", "schema_command", "schema_at_startup")
"""The settings that say where the schema comes from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one project.

    At least one of `SOURCES` says where the schema comes from. Where there are several, that is their order; `before` goes
    before all of them, and `seed` after.

    Attributes:
        root: The folder of pyproject.toml; relative paths are relative to it.
        app: The ASGI application, `package.module:name`; with `()` at the end a factory.
        database_url: The environment variable that tells the application its database's URL.
        driver: The scheme of that URL, as the application wants it.
        environment: More variables for the application. `{url}`, `{host}`, `{port}`, `{user}`, `{password}` and
            `{database}` in a value are filled in.
        environment_defaults: The same for variables that the environment does not set: what settings require and a test does
            not care about.
        alembic: An alembic.ini, or a pyproject.toml with `[tool.alembic]`.
        metadata: Each a `sqlalchemy.MetaData`, `package.module:name`. The schemas that they name are made, too.
        sql: SQL files, run in this order.
        schema_command: A command that builds the schema, with the application's environment.
        schema_at_startup: The application builds its schema when it starts up.
        before: SQL files, run before the schema is built, as a deployment does it by hand.
        seed: SQL files, run after the schema is there.
        extensions: Extensions that the admin creates before the migrations run; `schema.name` in that schema.
        roles: More roles that migrations and tests need, made by the admin. They can log in.
        role: The role that the application connects as. Never a superuser.
        owner: The role that owns the database and builds the schema: by default the application's own. Row-level security
            applies to a role that does not own the tables.
        postgres: PostgreSQL's major version, where there is a choice; empty for any.
        image: The image of the Docker stack's database; empty for that of its Compose file.
        engine: Where Postgres comes from: `auto`, or the name of a server kind.
        lifespan: Start the application's lifespan once per `run`, or around each `test`.
        session_factory: The application's own factory of `AsyncSession`s, for the fixture `async_session`.
        async_tests: Run `async def` tests and fixtures on the loop of the application.
        keep_failed: How many databases of failed tests are kept per run and worker.
        unit_marker: Tests with this marker run without a database; without it, no marker means that.
        base_url: Where the clients say that the application is; without it, a host that it allows.
        connect: How the application reaches a server of greenroom's own: `tcp`, on the loopback, or its Unix `socket`.
        server_url: The environment variable that holds the admin URL of an external server.
        other_databases: Names of databases that greenroom did not create but that the tests may connect to.
        pool_guard: Fail a test that takes a pooled connection on a different event loop from the one it was opened on.
        lazy_loads: `allow` or `fail` the application's lazy loads.
        n_plus_one: `off`, `warn` or `fail` if one request repeats a query.
        n_plus_one_threshold: How many equal queries are reported.
        n_plus_one_writes: Report statements that write row by row, too.
        known_findings: The file with the lazy loads and repeated queries that are accepted.
        leftover_tasks: `fail` or `warn` if a task of a test goes on after it; `cancel` it quietly, or `ignore` it.
        task_timeout: Seconds that such a task may take to end by itself.
        timeout: Seconds that a test waits for the application or its database before it fails; 0 for no limit.
        migration_timeout: Seconds for building the schema; 0 for no limit.
        migration_tests: pytest tests the migrations, too.
        migration_since: The revisions up to this one are not tested one by one.
        migration_skip: What is not tested: a check, a revision, or a check of a revision, `data_survives[a1b2]`.
        migration_rows: The folder with the project's own rows for the state before a revision, `a1b2.sql`.
        migration_downgrades: `optional` or `required`: a revision that cannot be taken back is skipped, or fails.
        allowed_hosts: Hosts other than this machine whose server may be used.
        databases: More databases of the application on the same server, by name. Each has what `OF_A_DATABASE` names of its
            own, and the rest is the project's.
        name: Of such a database, its name.
        main: Of such a database, the project.
    """

    root: Path
    app: str
    database_url: str = "DATABASE_URL"
    driver: str = "postgresql+asyncpg"
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    environment_defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)
    alembic: str | None = None
    metadata: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()
    schema_command: str | None = None
    schema_at_startup: bool = False
    before: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    role: str = "greenroom_app"
    owner: str = ""
    postgres: str = ""
    image: str = ""
    engine: str = "auto"
    lifespan: str = "run"
    session_factory: str | None = None
    async_tests: bool = False
    keep_failed: int = 3
    unit_marker: str = ""
    base_url: str = ""
    connect: str = "tcp"
    server_url: str = "GREENROOM_SERVER_URL"
    other_databases: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    pool_guard: bool = True
    lazy_loads: str = "allow"
    n_plus_one: str = "off"
    n_plus_one_threshold: int = 3
    n_plus_one_writes: bool = False
    known_findings: str = "tests/known_findings.json"
    leftover_tasks: str = "fail"
    task_timeout: int = 1
    timeout: int = 60
    migration_timeout: int = 900
    migration_tests: bool = False
    migration_since: str | None = None
    migration_skip: tuple[str, ...] = ()
    migration_rows: str | None = None
    migration_downgrades: str = "optional"
    databases: Mapping[str, Config] = dataclasses.field(default_factory=dict)
    name: str = ""
    main: Config | None = None

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in SOURCES):
            raise ConfigError(
                f"[tool.greenroom] must say where the schema comes from: {', '.join(SOURCES[:-1])} or {SOURCES[-1]}. "
                f"Found: none of them ({self.root / 'pyproject.toml'}).",
                hint='add a line such as: alembic = "alembic.ini"',
            )
        for key, value in (
            ("app", self.app), ("session_factory", self.session_factory), *(("metadata", each) for each in self.metadata),
        ):  # fmt: skip
            if value is not None and not _IMPORT_STRING.fullmatch(value):
                raise self._wrong(key, value, 'an import string such as "package.module:name"')
        object.__setattr__(self, "owner", self.owner or self.role)
        for key, role in (
            ("role", self.role),
            ("owner", self.owner),
            *(("roles", each) for each in self.roles),
        ):
            if not _ROLE.fullmatch(role) or role.startswith("pg_"):
                raise self._wrong(key, role, "a plain lower-case name that does not begin with pg_")
        if not self.driver.partition("+")[0] == "postgresql":
            raise self._wrong("driver", self.driver, 'a PostgreSQL scheme such as "postgresql+asyncpg"')
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise self._wrong(key, getattr(self, key), _either(allowed))
        if self.postgres and not re.fullmatch(r"1[4-9]|[2-9]\d", self.postgres):
            raise self._wrong("postgres", self.postgres, 'a major version from "14" on')
        if self.n_plus_one_threshold < 2:
            raise self._wrong("n_plus_one_threshold", self.n_plus_one_threshold, "at least 2")
        self._check_migrations()
        for path in (self.alembic, *self.before, *self.sql, *self.seed):
            if path is not None and not (self.root / path).is_file():
                raise ConfigError(
                    f"[tool.greenroom] names a file that does not exist: {self.root / path}.",
                    hint="paths are relative to the folder of pyproject.toml",
                )

    def _check_migrations(self) -> None:
        if self.migration_tests and self.alembic is None:
            raise self._wrong("migration_tests", self.migration_tests, "false without alembic")
        if self.migration_rows is not None and not (self.root / self.migration_rows).is_dir():
            raise self._wrong("migration_rows", self.migration_rows, f"a folder in {self.root}")

    @property
    def all_roles(self) -> list[str]:
        """The roles that the admin makes, each once: the owner, the application's, and `roles`."""
        return list(dict.fromkeys((self.owner, self.role, *self.roles)))

    @property
    def extension_names(self) -> list[str]:
        """The extensions, without their schemas."""
        return [each.rpartition(".")[2] for each in self.extensions]

    @property
    def all_extension_names(self) -> list[str]:
        """The same for all databases: what their server is to have."""
        every = (self, *self.databases.values())
        return list(dict.fromkeys(name for each in every for name in each.extension_names))

    @property
    def variables(self) -> dict[str, str]:
        """`environment`, and those of `environment_defaults` that the environment does not set."""
        unset = {name: value for name, value in self.environment_defaults.items() if name not in os.environ}
        return unset | dict(self.environment)

    def environment_for(self, url: URL) -> dict[str, str]:
        """The variables that make the application use its databases.

        Args:
            url: The main database in the application's own form; of one more database, which is being built, that one.
        """
        from greenroom import urls  # a project without the table imports no more than it must

        main = self.main or self
        values = urls.environment(url, main.database_url, main.variables)
        for name, each in main.databases.items():
            own = urls.for_driver(url.set(database=urls.of_database(url.database or "", name)), each.driver)
            values |= urls.environment(own, each.database_url, each.environment)
        if self.main is not None:
            values |= urls.environment(url, self.database_url, self.environment)
        return values

    @property
    def import_paths(self) -> list[str]:
        """The folders that the application is imported from: the root, its src if there is one, and pytest's `pythonpath`."""
        folders = [".", "src", *_pythonpath(self.root)]
        return list(
            dict.fromkeys(
                str((self.root / name).resolve()) for name in folders if (self.root / name).is_dir()
            )
        )

    @staticmethod
    def _wrong(key: str, value: object, rule: str) -> ConfigError:
        return ConfigError(f"[tool.greenroom] {key} must be {rule}. Found: {value!r}.", hint=_WHERE)


def _pythonpath(root: Path) -> list[str]:
    """The folders of pytest's `pythonpath`, from the file that pytest takes its settings from."""
    for name, section in _PYTESTS.items():
        named = (_in_toml if name.endswith(".toml") else _in_ini)(root / name, section)
        if named is not None:
            return named.split() if isinstance(named, str) else list(named)
    return []


def _in_ini(path: Path, section: str) -> Any:
    parser = configparser.RawConfigParser()
    with contextlib.suppress(configparser.Error):
        parser.read(path)
    return parser.get(section, "pythonpath", fallback=None)


def _in_toml(path: Path, section: str) -> Any:
    if not path.is_file():
        return None
    table: Any = {}
    with contextlib.suppress(tomllib.TOMLDecodeError):
        table = toml.read(path)
    for key in section.split("."):
        table = table.get(key, {})
    return (table.get("ini_options") or table).get("pythonpath")


def _either(allowed: Sequence[str]) -> str:
    *others, last = [f'"{each}"' for each in allowed]
    return f"{', '.join(others)} or {last}"


def find(start: Path) -> Config:
    """Return the configuration of the project that contains `start`, for a command run anywhere below its root.

    Raises:
        ConfigError: No pyproject.toml above `start` has the table, or it is wrong.
    """
    for folder in (start, *start.parents):
        config = load(folder)
        if config is not None:
            return config
    raise ConfigError(
        f"No pyproject.toml with a [tool.greenroom] table in {start} or above it.", hint=f"add {EXAMPLE}"
    )


def of_project(root: Path) -> Config | None:
    """Return the configuration of the project whose tests have this root directory, or None if it has none.

    pytest's root directory is the folder of its settings, such as of `tests/pytest.ini`. The project is the nearest folder from there
    upwards with a pyproject.toml, and in the same checkout.

    Args:
        root: pytest's root directory.

    Raises:
        ConfigError: The table exists and something in it is wrong.
    """
    for folder in (root, *root.parents):
        config = load(folder)
        if config is not None or any((folder / name).exists() for name in ("pyproject.toml", ".git")):
            return config
    return None


def load(root: Path, environ: Mapping[str, str] = os.environ) -> Config | None:
    """Return the configuration in `root`, or None if it has no pyproject.toml with a table `[tool.greenroom]`.

    `GREENROOM_ENGINE` in the environment overrides `engine`, and `GREENROOM_ASYNC_TESTS=1` switches `async_tests` on.

    Raises:
        ConfigError: The table exists and something in it is wrong.
    """
    path = root / "pyproject.toml"
    if TRIED in environ and root == Path(environ[TRIED_ROOT]):
        path = Path(environ[TRIED])
    try:
        table = toml.read(path).get("tool", {}).get("greenroom")
    except FileNotFoundError:
        return None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    if table is None:
        return None
    settings = _checked(table, SETTINGS)
    if "app" not in settings:
        raise ConfigError(
            "[tool.greenroom] has no key 'app', which names the ASGI application.", hint=f"add {EXAMPLE}"
        )
    if engine := environ.get("GREENROOM_ENGINE"):
        settings["engine"] = engine
    if environ.get(ASYNC_TESTS) == "1":
        settings["async_tests"] = True
    tables = settings.pop("databases", {})
    main = Config(root=root, **settings)
    # They know each other: each is built with the variables of all.
    object.__setattr__(main, "databases", {name: _database(main, name, tables[name]) for name in tables})
    _check_variables(main)
    return main


def _database(main: Config, name: str, table: Any) -> Config:
    """The settings of one more database."""
    where = f"[tool.greenroom.databases.{name}]"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,19}", name):
        raise ConfigError(
            f"{where}: the name must be lower-case letters, digits and _, 20 at most. Found: {name!r}.",
            hint=_WHERE,
        )
    try:
        if not isinstance(table, dict):
            raise ConfigError(f"[tool.greenroom] must be a table. Found: {table!r}.", hint=_WHERE)
        settings = _checked(table, OF_A_DATABASE)
        if "database_url" not in settings:
            raise ConfigError(
                "[tool.greenroom] has no key 'database_url', which names the variable with its URL.",
                hint=f'add database_url = "{name.upper()}_DATABASE_URL"',
            )
        bare: dict[str, Any] = {
            field.name: field.default for field in dataclasses.fields(Config) if field.name in OF_A_DATABASE
        }
        bare |= {"environment": {}, "environment_defaults": {}, "databases": {}, "driver": main.driver}
        bare |= {"schema_at_startup": False, "migration_tests": False, "name": name, "main": main}
        return dataclasses.replace(main, **bare | settings)
    except ConfigError as error:
        raise ConfigError(error.message.replace("[tool.greenroom]", where), hint=error.hint) from None


def _check_variables(main: Config) -> None:
    """Refuse two databases with one variable."""
    seen: dict[str, str] = {}
    for each in (main, *main.databases.values()):
        for variable in (each.database_url, *each.environment):
            if variable in seen:
                raise ConfigError(
                    f"[tool.greenroom] sets {variable} twice: for {seen[variable]} and for {each.name or 'the main database'}.",
                    hint="give each database a variable of its own",
                )
        seen |= dict.fromkeys((each.database_url, *each.environment), each.name or "the main database")


SETTINGS: Final = tuple(
    field.name for field in dataclasses.fields(Config) if field.name not in ("root", "name", "main")
)
"""The keys of `[tool.greenroom]`."""


def _checked(table: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return the table's values, checked for the names and types of `Config`."""
    fields = {field.name: field for field in dataclasses.fields(Config) if field.name in keys}
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ConfigError(
                f"[tool.greenroom] has no key {key!r}. The keys are: {', '.join(sorted(fields))}.",
                hint=f"did you mean {near[0]!r}?" if near else _WHERE,
            )
        settings[key] = _typed(key, value, str(fields[key].type))
    return settings


def _typed(key: str, value: Any, expected: str) -> Any:
    if expected.startswith("tuple"):
        found = [value] if isinstance(value, str) and value else value
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return tuple(found)
        rule = "a list of strings, or one string"
    elif expected == "Mapping[str, Config]":
        if isinstance(value, dict):
            return value
        rule = "tables: [tool.greenroom.databases.NAME]"
    elif expected.startswith("Mapping"):
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return value
        rule = "a table of strings"
    elif expected == "bool":
        if isinstance(value, bool):
            return value
        rule = "true or false"
    elif expected == "int":
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        rule = "a non-negative number"
    else:
        if isinstance(value, str) and value:
            return value
        rule = "a non-empty string"
    raise ConfigError(f"[tool.greenroom] {key} must be {rule}. Found: {value!r}.", hint=_WHERE)
