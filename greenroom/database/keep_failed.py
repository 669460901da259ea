"""The database of a failed test, kept as it was at the failing line.

It is written down as SQL, in `.greenroom/kept` of the checkout: so it survives the run and its server, takes no place in
memory, and can be an artifact in CI. `greenroom psql TEST` makes a database of it again, whenever somebody asks.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from greenroom.connection import connect
from greenroom.errors import ConfigError, ServerError
from greenroom.processes import captured
from greenroom.servers import program
from greenroom.urls import conninfo

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config

LOCK_TIMEOUT: Final = 2000
"""Milliseconds that the copy waits for a table that the failed test has locked."""


def folder(config: Config) -> Path:
    """Where a checkout keeps them. It need not exist yet."""
    return config.root / ".greenroom" / "kept"


def path_for(config: Config, test: str) -> Path:
    """The file of a test's database.

    Args:
        config: The project.
        test: The test's node id.
    """
    slug = re.sub(r"[^\w.-]+", "-", test.replace(".py", ""))[-80:].strip("-")
    return folder(config) / f"{slug}-{hashlib.sha256(test.encode()).hexdigest()[:6]}.sql"


def clear(config: Config) -> int:
    """Remove those of earlier runs. Returns how many there were."""
    files = list(folder(config).glob("*.sql"))
    for file in files:
        file.unlink()
    return len(files)


def keep(config: Config, url: URL, test: str) -> Path:
    """Write the database at `url` down.

    Args:
        config: The project.
        url: The database, as the admin.
        test: The test's node id, which stands in the file's first line.

    Raises:
        ServerError: It could not be copied, for instance because the test has locked a table.
    """
    target = path_for(config, test)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Nothing in there is to be committed, and a project need not know of it.
    (folder(config).parent / ".gitignore").write_text("*\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        archive, contents = Path(scratch, "archive"), Path(scratch, "contents")
        _run(
            url, "pg_dump", "--format=custom", "--no-owner", "--exclude-schema=greenroom", f"--file={archive}",
            f"--lock-wait-timeout={LOCK_TIMEOUT}", conninfo(url.set(password=None)),
        )  # fmt: skip
        # Greenroom's own triggers are on the application's tables, and not in its schema.
        listed = _run(url, "pg_restore", "--list", str(archive)).splitlines()
        contents.write_text("\n".join(line for line in listed if not _OURS.search(line)), encoding="utf-8")
        text = _run(url, "pg_restore", "--no-owner", f"--use-list={contents}", "--file=-", str(archive))
    target.write_text(f"{_TITLE}{test}\n{text}", encoding="utf-8")
    return target


_OURS: Final = re.compile(r" TRIGGER .* greenroom_\w+ \S+$")
"""A trigger of greenroom's in an archive's list of contents; the last word there is the owner."""

_TITLE: Final = "-- The database of the failed test "


def kept(config: Config) -> dict[str, Path]:
    """All that are kept, by the test's node id, the newest last."""
    files = sorted(folder(config).glob("*.sql"), key=lambda file: file.stat().st_mtime)
    found = {}
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as lines:
            found[next(lines).strip().removeprefix(_TITLE)] = file
    return found


def find(config: Config, test: str) -> tuple[str, Path]:
    """The one kept database whose test's node id contains `test`.

    Raises:
        ConfigError: None does, or more than one.
    """
    everything = kept(config)
    matching = [name for name in everything if test == name] or [name for name in everything if test in name]
    if len(matching) != 1:
        raise ConfigError(
            f"{test!r} must name one kept database. Found: {', '.join(matching) or 'none'}.",
            hint="greenroom kept",
        )
    return matching[0], everything[matching[0]]


def restore(file: Path, url: URL) -> None:
    """Fill the empty database at `url` from a file.

    The file may come from elsewhere, as an artifact of CI. So psql takes none of its own commands from it, which run
    programs, or connect to another database.

    Raises:
        ServerError: A statement failed.
    """
    key = secrets.token_hex(16)
    _run(
        url, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--command=\\restrict {key}", "--file=-",
        conninfo(url.set(password=None)), reads=_known(_RESTRICTED.sub(r"\1", file.read_text(encoding="utf-8")), url),
    )  # fmt: skip


def _known(text: str, url: URL) -> str:
    """The dump without the settings at its beginning that the server does not know: pg_dump may be newer than that."""
    with connect(url) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM pg_settings")}
    head, mark, rest = text.partition("\n--\n-- Name: ")
    head = re.sub(
        r"^SET (\w+) = .*;$", lambda found: found[0] if found[1] in names else "", head, flags=re.MULTILINE
    )
    return head + mark + rest


_RESTRICTED: Final = re.compile(r"\A((?:--.*\n|\n)*)\\restrict \w+\n|(\n)\\unrestrict \w+\s*\Z")
"""pg_dump's own such command before all else, and its end: it knows the key, and so would whoever changes the file."""


def _run(url: URL, name: str, *arguments: str, reads: str | None = None) -> str:
    """Run one of PostgreSQL's programs: that of the wheel if it is installed, since it is not older than the server."""
    path = program(name) or shutil.which(name)
    if path is None:
        raise ServerError(f"There is no {name} here.", hint="install PostgreSQL's client programs")
    # Not as an argument, which all users of the machine can read.
    environ = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    done = captured([path, *arguments], environ, reads=reads, seconds=60)
    if done.returncode:
        raise ServerError(f"{name} failed: {' '.join(done.stderr.split())}.")
    return done.stdout
