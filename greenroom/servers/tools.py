"""PostgreSQL's programs as they are run for a server: as whom, from where, and with paths that survive a shell."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from greenroom import own_files
from greenroom.errors import ServerError
from greenroom.places import indented
from greenroom.processes import captured
from greenroom.servers import installations
from greenroom.servers.installations import Installation

START_TIMEOUT: Final = 30
"""Seconds for initdb and for the start. Both take well under one."""

_ODD: Final = re.compile(r"[\"$`\\\n]")
"""What means something in a shell's double quotes, into which pg_ctl and initdb put paths."""


class Tools:
    """Run PostgreSQL's programs as a user that they accept: they refuse to run as root."""

    def __init__(self, folder: Path, chosen: Installation) -> None:
        self._folder = folder
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = _unprivileged()
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            _reachable(folder, account)
        closed = os.geteuid() == 0 and not _open_to_all(chosen.bin)
        if chosen.archive or (chosen.package and (closed or _ODD.search(str(chosen.bin)))):
            chosen = installations.unpacked(chosen, folder / "programs")
        if odd := _ODD.search(str(chosen.bin)):
            raise ServerError(
                f"PostgreSQL's programs do not run in a folder whose path has a {odd[0]}. Found: {chosen.bin}.",
                hint="set GREENROOM_RUNTIME_DIR to a folder with a plain path",
            )
        self.installation = chosen

    def own(self, path: Path) -> None:
        """Make the data directory, or the log, that the server's user may write to, if it is not there."""
        if path.suffix == ".log":
            path.touch(mode=0o600)
        else:
            path.mkdir(mode=0o700)
        if self._user:
            os.chown(path, self._user["user"], self._user["group"], follow_symlinks=False)

    def word(self, path: Path) -> str:
        """The path of something in the server's folder, as an argument: pg_ctl puts it into a shell's double quotes."""
        return path.name if _ODD.search(str(path)) else str(path)

    def run(self, program: str, *arguments: object, log: Path | None = None) -> None:
        """Run `program` to its end.

        Raises:
            ServerError: It failed, with the end of what it said and of `log`.
        """
        try:
            # A file, not a pipe: the server inherits it and would keep a pipe open for as long as it runs.
            with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
                done = captured(
                    [str(self.installation.bin / program), *map(str, arguments)],
                    {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                    seconds=START_TIMEOUT + 10,
                    # A folder that the other user may be in.
                    cwd=self._folder if _ODD.search(str(self._folder)) else Path("/"),
                    merged=True,
                    stdout=out,
                    **self._user,
                )
                out.seek(0)
                said = out.read()
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"{program} could not be run: {error}.", hint="greenroom doctor") from None
        if done.returncode:
            if log:
                said += (own_files.read(log, owner=owner()) or b"").decode(errors="replace")
            full = "No space left on device" in said
            raise ServerError(
                f"{program} failed with exit code {done.returncode}:\n{indented(said, last=12)}",
                hint=f"free some of it (df -h {shlex.quote(str(self._folder))}), or set GREENROOM_RUNTIME_DIR to another folder"
                if full
                else "greenroom doctor",
            )


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError(
        "Postgres refuses to run as root, and this machine has neither a user 'postgres' nor 'nobody'.",
        hint="run as an ordinary user",
    )


def owner() -> int:
    """The user that the server runs as."""
    return _unprivileged().pw_uid if os.geteuid() == 0 else os.geteuid()


def _open_to_all(path: Path) -> bool:
    """Return whether any user may read `path`: not, for example, below root's home, or what was made with umask 077."""
    return all(
        folder.stat().st_mode & 0o001
        for folder in (path / "postgres", path.resolve(), *path.resolve().parents)
        if folder.exists()
    )


def _reachable(folder: Path, account: pwd.struct_passwd) -> None:
    """Check that the server's user can pass through to a folder of root's.

    Raises:
        ServerError: It cannot.
    """
    for parent in folder.parents:
        found = parent.stat()
        open_to = (
            (True, 0o001),
            (found.st_gid == account.pw_gid, 0o010),
            (found.st_uid == account.pw_uid, 0o100),
        )
        if not any(who and found.st_mode & bit for who, bit in open_to):
            raise ServerError(
                f"Postgres runs as {account.pw_name}, who must be able to pass through {parent}. "
                f"Found: {stat.filemode(found.st_mode)}.",
                hint=f"chmod o+x {shlex.quote(str(parent))}, or set GREENROOM_RUNTIME_DIR to another folder",
            )


def listed(path: Path) -> str:
    """A path as an item of a list of folders."""
    return '"' + str(path).replace('"', '""') + '"'


def quoted(value: str) -> str:
    """A value as one word of a shell."""
    return "'" + value.replace("'", "'\\''") + "'"
