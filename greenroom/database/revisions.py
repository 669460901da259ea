"""Where Alembic keeps a project's migrations, read as Alembic does, but without importing it: that alone takes longer than all else."""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from greenroom import toml
from greenroom.errors import ConfigError

if TYPE_CHECKING:
    from greenroom.config import Config

_SHAPES_NOTHING: Final = frozenset({
    "sqlalchemy.url", "file_template", "truncate_slug_length", "timezone", "output_encoding", "revision_environment",
    "post_write_hooks", "prepend_sys_path",
})  # fmt: skip
"""Settings about new revisions and about imports, and the URL, which is not the one that is migrated."""

_SEPARATORS: Final = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}


def settings(config: Config) -> dict[str, Any]:
    """What Alembic's configuration says that an env.py or a migration may heed, as it is written there.

    Raises:
        ConfigError: It cannot be read.
    """
    path = _path(config)
    found = _toml(path) if path.suffix == ".toml" else dict(_ini(path).items("alembic", raw=True))
    return {
        key: value for key, value in sorted(found.items()) if key not in _SHAPES_NOTHING and key != "here"
    }


def folders(config: Config) -> list[Path]:
    """The folders that Alembic's scripts are in: first the one with env.py.

    Raises:
        ConfigError: Its configuration cannot be read, names none, or one that is not there.
    """
    path = _path(config)
    location, more = _location(config)
    if not location:
        raise ConfigError(
            f"{path} has no script_location, where Alembic keeps the migrations.", hint="alembic init"
        )
    # Relative to the folder that Alembic is called in: the project's, or that of its configuration.
    base = config.root if _folder(config, config.root, location).is_dir() else path.parent
    found = [_folder(config, base, name) for name in (location, *more)]
    for folder in found:
        if not folder.is_dir():
            raise ConfigError(
                f"{path} names a folder for Alembic that is not there: {folder}.", hint="correct it there"
            )
    return found


def working_directory(config: Config) -> contextlib.AbstractContextManager[None]:
    """The folder that Alembic is called in: where the configuration's relative paths are right."""
    name = _location(config)[0]
    return contextlib.chdir(
        config.root if _folder(config, config.root, name).is_dir() else _path(config).parent
    )


def _location(config: Config) -> tuple[str, list[str]]:
    path = _path(config)
    return _from_toml(path) if path.suffix == ".toml" else _from_ini(path)


def _path(config: Config) -> Path:
    return config.root / str(config.alembic)


def _toml(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = toml.read(path).get("tool", {}).get("alembic", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="correct it there") from None
    return found


def _from_toml(path: Path) -> tuple[str, list[str]]:
    here = path.parent.as_posix()
    found = _toml(path)
    names = [found.get("script_location", ""), *(found.get("version_locations") or [])]
    location, *more = [name.replace("%(here)s", here).replace("%%", "%") for name in names]
    return location, more


def _ini(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser({"here": path.parent.as_posix()})
    try:
        parser.read(path, encoding="utf-8")
    except configparser.Error as error:
        raise ConfigError(
            f"{path} cannot be read: {' '.join(str(error).split())}.", hint="correct it there"
        ) from None
    if not parser.has_section("alembic"):
        parser.add_section("alembic")
    return parser


def _from_ini(path: Path) -> tuple[str, list[str]]:
    section = _ini(path)["alembic"]
    try:
        location, more = section.get("script_location", ""), section.get("version_locations", "")
        separator = section.get("path_separator") or section.get("version_path_separator")
    except configparser.InterpolationError as error:
        raise ConfigError(
            f"{path} cannot be read: {' '.join(str(error).split())}.", hint="correct it there"
        ) from None
    # As Alembic does it: its own template had a comment behind the separator, which nobody reads where there is nothing to part.
    if not more:
        return location, []
    if separator is None:
        return location, [name for name in re.split(r", *|(?: +)", more) if name]
    if separator not in _SEPARATORS:
        raise ConfigError(
            f"{path}: path_separator must be one of {', '.join(_SEPARATORS)}. Found: {separator!r}.",
            hint="correct it there",
        )
    return location, [name.strip() for name in more.split(_SEPARATORS[separator]) if name.strip()]


def _folder(config: Config, base: Path, name: str) -> Path:
    """A folder as Alembic writes it: absolute, relative to the working directory, or `package:folder`."""
    if Path(name).is_absolute() or ":" not in name:
        return base / name
    package, *rest = name.split(":")
    inside = Path(*package.split("."), *rest)
    found = [Path(base, inside) for base in config.import_paths if Path(base, inside).is_dir()]
    return found[0] if found else config.root / inside
