"""What shapes a template, as a hash: the same hash, the same schema and rows, so nothing has to be migrated."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from greenroom.config import SOURCES
from greenroom.database import revisions
from greenroom.errors import ConfigError

if TYPE_CHECKING:
    from greenroom.config import Config

FORMAT: Final = 15
"""Goes up when greenroom itself writes something else into a template."""


def of(config: Config, *, server_version: int) -> str:
    """The hash of all that shapes a project's template, 16 hexadecimal digits.

    Args:
        config: The project.
        server_version: As libpq gives it, 180006 for 18.6.
    """
    digest = hashlib.sha256()
    for subject, content in parts(config, server_version=server_version):
        for piece in (os.fsencode(subject), content):
            # With their lengths, so that no two lists of parts run together into the same bytes.
            digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()[:16]


def parts(config: Config, *, server_version: int) -> Iterator[tuple[str, bytes]]:
    """All that goes into the hash, each as a subject and its bytes: settings first, then files by path."""
    yield "format", str(FORMAT).encode()
    yield "server version", str(server_version // 10000).encode()
    yield "roles", " ".join([config.owner, config.role, *config.roles]).encode()
    yield "extensions", " ".join(config.extensions).encode()
    # With the files of each in their order, which the files' own contents do not tell.
    sources = [getattr(config, name) for name in SOURCES]
    yield "source", json.dumps([config.before, *sources, config.seed]).encode()
    if config.alembic is not None:
        yield "alembic", json.dumps(revisions.settings(config)).encode()
    variables = dict(config.environment_defaults) | dict(config.environment)
    yield "environment", json.dumps(variables, sort_keys=True).encode()
    for path in sorted(set(files(config))):
        yield os.path.relpath(path, config.root), path.read_bytes()


def files(config: Config) -> Iterator[Path]:
    """The files that shape the template."""
    yield from (config.root / name for name in (*config.before, *config.sql, *config.seed))
    if config.alembic is not None:
        for folder in revisions.folders(config):
            yield from (
                path for path in folder.rglob("*") if path.is_file() and not _SHAPES_NOTHING.search(str(path))
            )
    for target in config.metadata:
        yield from _package(config, "metadata", target)
    if config.metadata or config.schema_command is not None or config.schema_at_startup:
        # Whatever builds it is the application's own, and the models are those that it imports.
        yield from _package(config, "app", config.app)


_SHAPES_NOTHING: Final = re.compile(r"__pycache__|\.pyc$|\.mako$|README[^/]*$|/\.[^/]*$")
"""Files among the revisions that they neither are nor read their rows from."""


def _package(config: Config, key: str, target: str) -> Iterator[Path]:
    """The sources of a setting's module, or of the whole package that it is in: models import each other."""
    module = target.partition(":")[0]
    top = module.partition(".")[0]
    for base in map(Path, config.import_paths):
        if (base / top).is_dir():
            yield from (path for path in (base / top).rglob("*") if path.suffix in (".py", ".sql"))
            return
        if (base / f"{top}.py").is_file():
            yield base / f"{top}.py"
            return
    raise ConfigError(
        f"[tool.greenroom] {key} names the module {module!r}, which is not in {config.root}.",
        hint='other folders to import from: pythonpath = ["…"] in [tool.pytest.ini_options]',
    )
