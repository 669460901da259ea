"""Greenroom's own connections to Postgres, of which none waits without an end.

A server that was stopped, or a network that swallows what is sent, answers nothing, and libpq knows a bound for connecting
only. So one thread looks at the clock for all connections of the process, and shuts down the socket of the one whose time is
over: that ends the wait with an error.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

from greenroom.errors import ServerError
from greenroom.urls import conninfo, redacted

if TYPE_CHECKING:
    from sqlalchemy import URL

CONNECT: Final = 10
"""Seconds for connecting."""

ANSWER: Final = 60.0
"""Seconds for a statement, where nothing else is said."""

BUILD: Final = 900.0
"""Seconds for a statement whose time grows with the data: of a template, or copying one."""

_LOOK: Final = 0.5
"""Seconds between two looks at the clock."""


class Connection(psycopg.Connection[Any]):
    """A connection whose statements have an end. Made by `connect`.

    Attributes:
        answer: Seconds for a statement; 0 for no end.
        where: The server, for the error.
    """

    answer: float = ANSWER
    where: str = ""

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's, with which it waits for all that the server sends.

        Raises:
            ServerError: The server did not answer in time.
        """
        with self.bounded():
            return super().wait(*args, **kwargs)

    def bounded(self) -> Bound:
        """Limit a call of libpq that does not go through `wait`. A context manager."""
        return Bound(self.pgconn.socket, self.answer, self.where)


def connect(url: URL, *, answer: float = ANSWER, **options: Any) -> Connection:
    """Connect to a database.

    Args:
        url: The database.
        answer: Seconds for a statement; 0 for no end.
        options: As for `psycopg.connect`.

    Raises:
        psycopg.OperationalError: The server cannot be reached, or did not answer within `CONNECT` seconds.
    """
    connection = Connection.connect(conninfo(url), **({"connect_timeout": CONNECT} | options))
    connection.answer = answer
    connection.where = redacted(url)
    return connection


class Bound:
    """Shuts a socket down if it is not left in time. A context manager, cheap enough for each rewind.

    Args:
        fd: The socket.
        seconds: How long it may take; 0 for no end.
        where: The server, for the error.
    """

    __slots__ = ("_fd", "_seconds", "_where", "end", "expired")

    def __init__(self, fd: int, seconds: float, where: str) -> None:
        self._fd = fd
        self._seconds = seconds
        self._where = where
        self.end = 0.0
        self.expired = False

    def __enter__(self) -> Self:
        if self._seconds:
            self.end = time.monotonic() + self._seconds
            _WATCH.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        _WATCH.discard(self)
        if self.expired:
            raise ServerError(
                f"The server did not answer within {self._seconds:g} s ({self._where}). It may have been stopped, or cannot "
                f"be reached any more.",
                hint="greenroom status, then: greenroom down",
            ) from None

    def expire(self) -> None:
        """End the wait."""
        self.expired = True
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._fd)) as twin:
            twin.shutdown(socket.SHUT_RDWR)


class _Watch:
    """The thread that looks at the clock. It starts with the first bound, once in each process."""

    def __init__(self) -> None:
        self._bounds: set[Bound] = set()
        self._process = 0

    def add(self, bound: Bound) -> None:
        self._bounds.add(bound)
        if self._process != os.getpid():
            self._process = os.getpid()
            threading.Thread(target=self._look, name="greenroom clock", daemon=True).start()

    def discard(self, bound: Bound) -> None:
        self._bounds.discard(bound)

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK)  # a clock: nothing is waited for
            now = time.monotonic()
            for bound in tuple(self._bounds):
                if now > bound.end and not bound.expired:
                    bound.expire()


_WATCH: Final = _Watch()
