"""Pooled connections stay on the event loop that they were made on.

A connection of asyncpg belongs to its loop. On another one it fails with "attached to a different loop", then with "another
operation is in progress"; where both loops are alive, it can crash the interpreter. Connections of psycopg do work there, but
their pool does not: who has to wait for a connection gets "Queue … is bound to a different event loop". SQLAlchemy's rule is
the same for both: an engine is for one loop, unless its pool keeps nothing.
"""

from __future__ import annotations

import asyncio
import re
import threading
from asyncio.events import _get_running_loop as _running  # get_running_loop() would raise where there is none
from asyncio.trsock import TransportSocket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Final

import greenlet  # type: ignore[import-untyped]
from sqlalchemy import Connection, Engine
from sqlalchemy.pool import Pool

from greenroom.diagnosis import fixes, loops
from greenroom.diagnosis.engines import engine_name
from greenroom.diagnosis.explanation import Explanation
from greenroom.diagnosis.frames import Line, frames, line_of
from greenroom.private.sqlalchemy import ConnectionRecord, dialect_of, pool_of
from greenroom.watch.current import listen
from greenroom.watch.findings import ForeignLoopError

if TYPE_CHECKING:
    from greenroom.watch.current import Current
    from greenroom.watch.findings import Findings

_KEY: Final = "greenroom.made"
_DIALECTS: Final = "sqlalchemy.dialects.postgresql."
_CLOSED_LOOPS: Final[list[Any]] = []
"""Connections whose loop is closed. They cannot be closed properly any more, and one that is garbage-collected warns, in
whatever test runs at that time."""

_USES: Final = (
    "before_cursor_execute",
    "begin",
    "savepoint",
    "rollback_savepoint",
    "release_savepoint",
    "commit",
    "rollback",
)

_BASE_EVENTS: Final = re.compile(r"asyncio[/\\]base_events\.py$")


@dataclass(frozen=True, slots=True)
class Use:
    """One side of a connection's story: who made it, or who asks for it.

    Attributes:
        loop: The event loop.
        runner: What runs that loop, in words.
        thread: The name of its thread.
        line: The line of the user's own code; None if that was no line of theirs.
        test: The test; empty outside of tests.
    """

    loop: asyncio.AbstractEventLoop
    runner: str
    thread: str
    line: Line | None
    test: str

    def __str__(self) -> str:
        closed = ", closed by now" if self.loop.is_closed() else ""
        parts = [f"on {self.runner}, in the thread {self.thread!r}{closed}"]
        if self.line:
            parts.append(f"    at {self.line}")
        if self.test:
            parts.append(f"    during {self.test}")
        return "\n".join(parts)


class PoolGuard:
    """Stops a connection that is asked for on another loop than it was made on.

    Args:
        current: Knows the test that runs.
        findings: Where what is raised is noted.
    """

    def __init__(self, current: Current, findings: Findings) -> None:
        self._current = current
        self._findings = findings

    def install(self, undo: ExitStack) -> None:
        """Guard all pools of this process, also those made before, until this is undone."""
        listen(Pool, "connect", self._made, undo)
        # The event "checkout" would be too late: a pool with `pool_pre_ping` has used the connection by then.
        stock = ConnectionRecord.get_connection

        def get_connection(record: ConnectionRecord) -> Any:
            __tracebackhide__ = True
            made: Use | None = record.info.get(_KEY)
            if made is not None and record.dbapi_connection is not None and _running() is not made.loop:
                self._refuse(record, made)
            return stock(record)

        ConnectionRecord.get_connection = get_connection  # type: ignore[method-assign,assignment]
        undo.callback(setattr, ConnectionRecord, "get_connection", stock)
        # A session that a fixture opened has its connection already.
        for event in _USES:
            listen(Engine, event, self._used, undo)

    def _made(self, connection: Any, record: Any) -> None:
        loop = _running()
        # A synchronous driver may well be used in a coroutine: it has no loop.
        if loop is not None and type(connection).__module__.startswith(_DIALECTS) and _is_async(connection):
            record.info[_KEY] = self._use(loop)

    def _use(self, loop: asyncio.AbstractEventLoop) -> Use:
        return Use(loop, *_who(), test=self._current.test)

    def _used(self, connection: Connection, *_: Any) -> None:
        """Refuse a connection that is held open, and used while its own loop may be using it, too."""
        __tracebackhide__ = True
        running = _running()
        # What asks an invalid one for its info has it connect again.
        if running is None or connection.closed or connection.invalidated:
            return
        made: Use | None = connection.info.get(_KEY)
        if (
            made is not None
            and made.loop is not running
            and made.loop.is_running()
            and connection.dialect.driver == "asyncpg"
        ):
            error = ForeignLoopError(
                _explanation(
                    made,
                    self._use(running),
                    connection.engine.pool,
                    type(connection.connection.dbapi_connection).__module__,
                    word="used",
                ).render()
            )
            self._findings.add(error)
            raise error

    def _refuse(self, record: Any, made: Use) -> None:
        __tracebackhide__ = True
        running = _running()
        if running is None:
            # It fails by itself, and with a better reason: asynchronous code is called without a loop.
            return
        connection, record.dbapi_connection = record.dbapi_connection, None
        pool = pool_of(record)
        _end(connection, pool, made.loop)
        error = ForeignLoopError(
            _explanation(made, self._use(running), pool, type(connection).__module__).render()
        )
        self._findings.add(error)
        raise error


def _is_async(connection: Any) -> bool:
    from sqlalchemy.engine import AdaptedConnection

    return isinstance(connection, AdaptedConnection)


def _end(connection: Any, pool: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Close a connection without the current loop's help, which is not its own."""
    dialect = dialect_of(pool)
    if not dialect.has_terminate:
        # psycopg's: whatever loop there is will do.
        dialect.do_close(connection)
    elif loop.is_running():
        loop.call_soon_threadsafe(dialect.do_terminate, connection)
    elif not loop.is_closed():
        # In a greenlet of SQLAlchemy's it would say goodbye to the server on the current loop, and wait.
        greenlet.greenlet(dialect.do_terminate).switch(connection)
    else:
        _CLOSED_LOOPS.append(connection)
        _hang_up(dialect.get_driver_connection(connection))


def _hang_up(connection: Any) -> None:
    """Let the server know that nobody is there any more: it has only so many connections."""
    transport: Any = getattr(connection, "_transport", None)
    socket = transport.get_extra_info("socket") if transport is not None else None
    # Not uvloop's, which cannot do that.
    if isinstance(socket, TransportSocket):
        # It has hung up first.
        with suppress(OSError):
            socket.shutdown(SHUT_RDWR)


def _who() -> tuple[str, str, Line | None]:
    """What runs the current loop, in words; its thread; and the user's own line that is on the way."""
    thread = threading.current_thread().name
    lines = [line_of(frame) for frame in frames()]
    loop = next((n for n, line in enumerate(lines) if _BASE_EVENTS.search(line.file)), len(lines))
    runner = loops.GREENROOMS if thread == loops.THREAD else loops.runner(lines[loop:])
    return runner, thread, next((line for line in lines[:loop] if line.is_users), None)


def _explanation(made: Use, asked: Use, pool: Any, dialect: str, word: str = "asked for") -> Explanation:
    engine = engine_name(pool) or "an engine"
    fails = (
        "With psycopg that works until a task has to wait for a connection, and fails then with “Queue … is bound to a "
        "different event loop”."
        if dialect.endswith(".psycopg")
        else "With asyncpg that fails with “attached to a different loop”, then with “another operation is in progress”, "
        "and where both loops are alive it can crash the interpreter."
    )
    held = word == "used"
    rule = (
        "A session or a connection that is open belongs to one event loop, as all that it has begun does."
        if held
        else "An asynchronous engine is for one event loop: its pool keeps connections, and hands them out to whatever loop asks next."
    )
    return Explanation(
        f"A pooled connection of {engine} was {word} on another event loop than it was made on",
        "",
        f"{rule} {fails}",
        [fixes.on_greenrooms_loop(), *(() if held else (fixes.NO_POOL,))],
        "different-loop",
        evidence=f"made {made}\n{word} {asked}",
    )
