"""What a project says in `[tool.greenroom]` of its pyproject.toml."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from greenroom.errors import ConfigError

DOCUMENTATION: Final = "docs/configuration.md"
EXAMPLE: Final = '[tool.greenroom] with at least: app = "app.main:app" and alembic = "alembic.ini"'

_IMPORT_STRING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?")
_ROLE = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one project.

    Exactly one of `alembic`, `metadata` and `sql` says where the schema comes from.

    Attributes:
        root: The folder of pyproject.toml; relative paths are relative to it.
        app: The ASGI application, `package.module:name`; with `()` at the end a factory.
        database_url: The environment variable that tells the application its database's URL.
        driver: The scheme of that URL, as the application wants it.
        environment: More variables for the application. `{url}`, `{host}`, `{port}`, `{user}`, `{password}` and
            `{database}` in a value are filled in.
        alembic: An alembic.ini, or a pyproject.toml with `[tool.alembic]`.
        metadata: A `sqlalchemy.MetaData`, `package.module:name`.
        sql: SQL files, run in this order.
        seed: SQL files, run after the schema is there.
        extensions: Extensions that the admin creates before the migrations run.
        role: The role that owns the database and that the application connects as. Never a superuser.
        engine: Where Postgres comes from: `auto`, or the name of a server kind.
        lifespan: Enter the application's lifespan once per `run`, or around each `test`.
        session_factory: The application's own factory of `AsyncSession`s, for the fixture `async_session`.
        keep_failed: Of how many failed tests of a run (of each worker) the database is kept.
        unit_marker: Tests with this marker run without a database.
        server_url: The environment variable that holds the admin URL of an external server.
        other_databases: Names of databases that greenroom did not make and that the tests may connect to all the same.
        pool_guard: Stop a pooled connection that is asked for on another event loop than it was made on.
        lazy_loads: `allow` or `fail` lazy loads on the application's side.
        n_plus_one: `off`, `warn` or `fail` where one request repeats a query.
        n_plus_one_threshold: From how many equal queries on.
        allowed_hosts: Hosts of external servers that are not this machine and may be used all the same.
    """

    root: Path
    app: str
    database_url: str = "DATABASE_URL"
    driver: str = "postgresql+asyncpg"
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    alembic: str | None = None
    metadata: str | None = None
    sql: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    role: str = "greenroom_app"
    engine: str = "auto"
    lifespan: str = "run"
    session_factory: str | None = None
    keep_failed: int = 3
    unit_marker: str = "unit"
    server_url: str = "GREENROOM_SERVER_URL"
    other_databases: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    pool_guard: bool = True
    lazy_loads: str = "allow"
    n_plus_one: str = "off"
    n_plus_one_threshold: int = 3

    def __post_init__(self) -> None:
        sources = [name for name in ("alembic", "metadata", "sql") if getattr(self, name)]
        if len(sources) != 1:
            raise ConfigError(
                f"[tool.greenroom] must name exactly one source of the schema: alembic, metadata or sql. "
                f"Found: {' and '.join(sources) or 'none'} ({self.root / 'pyproject.toml'}).",
                hint='add a line such as: alembic = "alembic.ini"',
            )
        for key in ("app", "metadata", "session_factory"):
            value = getattr(self, key)
            if value is not None and not _IMPORT_STRING.fullmatch(value):
                raise self._wrong(key, value, 'an import string such as "package.module:name"')
        if not self.driver.partition("+")[0] == "postgresql":
            raise self._wrong("driver", self.driver, 'a PostgreSQL scheme such as "postgresql+asyncpg"')
        if not _ROLE.fullmatch(self.role) or self.role.startswith("pg_"):
            raise self._wrong("role", self.role, "a plain lower-case name that does not begin with pg_")
        if self.lifespan not in ("run", "test"):
            raise self._wrong("lifespan", self.lifespan, '"run" or "test"')
        if self.lazy_loads not in ("allow", "fail"):
            raise self._wrong("lazy_loads", self.lazy_loads, '"allow" or "fail"')
        if self.n_plus_one not in ("off", "warn", "fail"):
            raise self._wrong("n_plus_one", self.n_plus_one, '"off", "warn" or "fail"')
        if self.n_plus_one_threshold < 2:
            raise self._wrong("n_plus_one_threshold", self.n_plus_one_threshold, "at least 2")
        for path in (self.alembic, *self.sql, *self.seed):
            if path is not None and not (self.root / path).is_file():
                raise ConfigError(
                    f"[tool.greenroom] names a file that is not there: {self.root / path}.",
                    hint="paths are relative to the folder of pyproject.toml",
                )

    @property
    def import_paths(self) -> list[str]:
        """Where the application is imported from: the root, its src if it has one, and what pytest's `pythonpath` names."""
        pytest = (
            tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
            .get("tool", {})
            .get("pytest", {})
        )
        named = (pytest.get("ini_options") or pytest).get("pythonpath", [])
        folders = [".", "src", *(named.split() if isinstance(named, str) else named)]
        return list(
            dict.fromkeys(
                str((self.root / name).resolve()) for name in folders if (self.root / name).is_dir()
            )
        )

    @staticmethod
    def _wrong(key: str, value: object, rule: str) -> ConfigError:
        return ConfigError(
            f"[tool.greenroom] {key} must be {rule}. Found: {value!r}.", hint=f"see {DOCUMENTATION}"
        )


def find(start: Path) -> Config:
    """The configuration of the project that `start` is in, for a command run anywhere below its root.

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


def load(root: Path, environ: Mapping[str, str] = os.environ) -> Config | None:
    """The configuration in `root`, or None where it has no pyproject.toml or that has no `[tool.greenroom]`.

    `GREENROOM_ENGINE` in the environment overrides `engine`.

    Raises:
        ConfigError: The table is there and something in it is wrong.
    """
    path = root / "pyproject.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("greenroom")
    except FileNotFoundError:
        return None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from None
    if table is None:
        return None
    settings = _checked(table)
    if engine := environ.get("GREENROOM_ENGINE"):
        settings["engine"] = engine
    return Config(root=root, **settings)


def _checked(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table's values under names and of types that `Config` knows."""
    fields = {field.name: field for field in dataclasses.fields(Config) if field.name != "root"}
    settings: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ConfigError(
                f"[tool.greenroom] has no key {key!r}. The keys are: {', '.join(sorted(fields))}.",
                hint=f"did you mean {near[0]!r}?" if near else f"see {DOCUMENTATION}",
            )
        settings[key] = _typed(key, value, str(fields[key].type))
    if "app" not in settings:
        raise ConfigError(
            "[tool.greenroom] lacks the key 'app', the ASGI application.", hint=f"add {EXAMPLE}"
        )
    return settings


def _typed(key: str, value: Any, expected: str) -> Any:
    if expected.startswith("tuple"):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        rule = "a list of strings"
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
        rule = "a number that is not negative"
    else:
        if isinstance(value, str) and value:
            return value
        rule = "a string that is not empty"
    raise ConfigError(
        f"[tool.greenroom] {key} must be {rule}. Found: {value!r}.", hint=f"see {DOCUMENTATION}"
    )
