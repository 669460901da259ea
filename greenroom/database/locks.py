"""Locks on the server, on a database's name or another subject: one run makes or drops something, the others wait or pass on."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import psutil
import psycopg

from greenroom.errors import HangError

if TYPE_CHECKING:
    from greenroom.connection import Connection

LOCK_WAIT: Final = 600.0
"""Seconds to wait for a lock that another run holds while it makes or drops something."""

_LOOK: Final = 2
"""Seconds between two looks at who holds a lock."""

NAME: Final = "greenroom admin "
"""What the sessions' names begin with; the process's number follows."""


class Locks:
    """A connection that takes locks. They end with it, whatever happens to this process."""

    _connection: Connection

    @contextlib.contextmanager
    def lock(
        self, subject: str, *, wait: bool = True, shared: bool = False, seconds: float = LOCK_WAIT
    ) -> Iterator[bool]:
        """Hold the lock on a database's name, or on another subject. The value says whether it was had.

        Args:
            subject: What is locked.
            wait: Wait for it. Otherwise the value is False if somebody else holds it.
            shared: Let others hold it at the same time, if they hold it shared, too.
            seconds: How long to wait for it.

        Raises:
            HangError: Another process holds it longer, or is stopped.
        """
        key, suffix = _key(subject), "_shared" if shared else ""
        had = self._try(key, suffix)
        if wait and not had:
            self._wait(subject, suffix, seconds)
            had = True
        try:
            yield had
        finally:
            if had and not self._connection.closed:
                self._connection.execute(f"SELECT pg_advisory_unlock{suffix}(%s)", [key])

    def hold(self, subject: str, *, shared: bool = False) -> None:
        """Take a lock and keep it until this connection ends; see `lock`."""
        suffix = "_shared" if shared else ""
        if not self._try(_key(subject), suffix):
            self._wait(subject, suffix, LOCK_WAIT)

    def _try(self, key: int, suffix: str) -> bool:
        row = self._connection.execute(f"SELECT pg_try_advisory_lock{suffix}(%s)", [key]).fetchone()
        return bool(row and row[0])

    def _wait(self, subject: str, suffix: str, seconds: float) -> None:
        """Wait for a lock, and look now and then whether there is anything to wait for."""
        end = time.monotonic() + seconds
        self._connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{_LOOK}s"])
        try:
            while True:
                try:
                    self._connection.execute(f"SELECT pg_advisory_lock{suffix}(%s)", [_key(subject)])
                except psycopg.errors.LockNotAvailable:
                    holder = self.holder(subject)
                    stopped = holder is not None and stops(holder)
                    if not stopped and time.monotonic() < end:
                        continue
                    who = f"process {holder}" if holder else "another process"
                    how = (
                        "is stopped (Ctrl-Z, SIGSTOP)"
                        if stopped
                        else f"has held it for more than {seconds:g} s"
                    )
                    raise HangError(
                        f"The lock on {subject} is held by {who}, which {how}.",
                        hint=f"let it go on (kill -CONT {holder}), or end it"
                        if holder
                        else "greenroom status",
                    ) from None
                else:
                    return
        finally:
            if not self._connection.closed:
                self._connection.execute("SELECT set_config('lock_timeout', '0', false)")

    def holder(self, subject: str) -> int | None:
        """The process that holds a lock, if it is one of greenroom's."""
        row = self._connection.execute(
            "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
            " AND pid <> pg_backend_pid() AND (classid::bigint << 32 | objid::bigint) = %s AND objsubid = 1 LIMIT 1",
            [_key(subject)],
        ).fetchone()
        number = row[0].removeprefix(NAME) if row else ""
        return int(number) if number.isdecimal() else None


def stops(process: int) -> bool:
    """Whether a process of this machine is stopped."""
    try:
        return bool(psutil.Process(process).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False  # of another machine, or of another container


def _key(subject: str) -> int:
    """A signed 64-bit number for a subject, as advisory locks want it."""
    digest = hashlib.sha256(f"greenroom {subject}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
