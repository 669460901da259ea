"""Sessions, transactions and results that are used when they are over."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any, Final

from greenroom.diagnosis import fixes
from greenroom.diagnosis.attributes import Read, Why, synchronous
from greenroom.diagnosis.explanation import Explanation, Fix
from greenroom.explain.failure import Failure
from greenroom.explain.reads import failed_read
from greenroom.explain.registry import recogniser

_LOADS: Final[dict[str, Why]] = {
    "lazy load": "relationship",
    "deferred load": "deferred",
    "attribute refresh": "expired",
}


@recogniser(
    "sqlalchemy.orm.exc.DetachedInstanceError",
    says=r"(?:Parent instance|Instance) <(\w+) at 0x\w+> is not bound to a Session; "
    rf"({'|'.join(_LOADS)}) operation(?: of attribute '(\w+)')? cannot proceed",
    section="detached-instance",
)
def detached(failure: Failure) -> Explanation:
    """`DetachedInstanceError`: an attribute had to be loaded after the session was closed."""
    model, load, key = failure.said.groups()
    read = failed_read(failure)
    if read is None or read.state is None:
        key = key or (read.key if read and read.known else "")
        instance = read.instance if read and read.known and read.key == key else ""
        read = Read(model, key or "attribute", _LOADS[load], instance, known=bool(key), frame=failure.users)
    elif load == "lazy load":
        # It was never loaded, though the instance may have expired as well.
        read = replace(read, why="relationship")
    name = read.quoted
    if failure.passed("starlette/background.py"):
        return _in_background(read, name)
    return Explanation(
        f"DetachedInstanceError: {read.name if read.known else read.model} was read after its session was closed",
        f"{name} of {read.identified} is {read.condition}, so reading it queries the database. "
        + (f"The instance comes from {read.origin.where}, `{read.origin.value}`." if read.origin else ""),
        "That takes the session which loaded the instance, and that one is closed, or has let the instance go.",
        [
            fixes.beforehand(read),
            (
                "or, in a synchronous test, read it with the test's own session, which loads it:",
                f"session.get({read.model}, …).{read.key}",
            )
            if fixes.cannot_await(failure.users)
            else (
                "or read it while the session is open:",
                f"{fixes.BLOCK}\n    {read.instance or read.model.lower()}.{read.key}  # in here, loaded",
            ),
        ],
    )


def _in_background(read: Read, name: str) -> Explanation:
    """The same, in a background task."""
    return Explanation(
        f"DetachedInstanceError: {read.name if read.known else read.model} was read in a background task, after its session was closed",
        f"{name} of {read.identified} is {read.condition}, so reading it queries the database. The background task runs after the "
        "response, when the request's session is closed.",
        "That takes the session which loaded the instance. A background task outlives it.",
        [
            (
                "hand the task a key instead of the instance, and load it there, in a session of its own:",
                f"async def work(key: int) -> None:\n    async with new_session() as session:\n        await session.get({read.model}, key)",
            ),
            fixes.beforehand(read),
        ],
    )


# Up to SQLAlchemy 1.3 it had no class of its own.
@recogniser(
    "sqlalchemy.exc.PendingRollbackError",
    "sqlalchemy.exc.InvalidRequestError",
    says="^This Session's transaction has been rolled back due to a previous exception during flush",
    section="pending-rollback",
    sqlalchemy=True,
)
@recogniser(
    "sqlalchemy.exc.PendingRollbackError",
    says="^(?!Can't reconnect until invalid|This Session's transaction has been rolled back due to a previous exception during flush)",
    section="pending-rollback",
    sqlalchemy=True,
)
def pending_rollback(failure: Failure) -> Explanation:
    """`PendingRollbackError`: a statement failed before, and the session was not rolled back."""
    original = _original(failure)
    text = ""
    if original is not None:
        text = f"{type(original).__name__}: {str(original).splitlines()[0]}"
    elif found := re.search(
        # SQLAlchemy puts its own words before it, on a line of theirs.
        r"Original exception was: (?:\(raised as a result of [^\n]*\)\n)?(.*)",
        failure.message,
    ):
        text = found[1]
    cause = f"It was: {text}" if text else "What that was is above in the log, or was swallowed."
    session = _Session(failure)
    return Explanation(
        "PendingRollbackError: the session has failed before, and was not rolled back",
        f"An earlier statement of this session failed, and the code went on with it. {cause}",
        "After an error the transaction is void. SQLAlchemy refuses everything until rollback() says that this is known.",
        [
            ("let only that part fail: a savepoint around what may fail:", session.savepoint("add")),
            session.rollback("IntegrityError"),
        ],
        follows=True,
        earlier=original,
    )


@recogniser(
    "sqlalchemy.exc.PendingRollbackError",
    says="^Can't reconnect until invalid",
    section="connection-lost-in-a-transaction",
    sqlalchemy=True,
)
def connection_lost(failure: Failure) -> Explanation:
    """SQLAlchemy has given the connection up in the middle of the transaction, and a savepoint cannot help."""
    session = _Session(failure)
    return Explanation(
        "PendingRollbackError: the connection was lost in the middle of the transaction",
        f"{failure.quoted} goes on with a transaction whose connection is gone: the server ended it, or a query was cancelled "
        "(asyncio.timeout, wait_for, a client that left). That error was caught, or its task was not the one that ended.",
        "What the transaction had done is lost with its connection. SQLAlchemy connects anew only after rollback() says that "
        "this is known.",
        [
            (
                "give the session up with the task that was cancelled, and begin again in a new one:",
                f"{session.asynchronous}with new_session() as {session.name}:\n    …",
            ),
            session.rollback("DBAPIError", ", and do all of it again"),
        ],
        follows=True,
    )


@recogniser(
    "psycopg.errors.InFailedSqlTransaction",
    "asyncpg.exceptions.InFailedSQLTransactionError",
    "psycopg2.errors.InFailedSqlTransaction",
    section="failed-transaction",
)
def failed_transaction(failure: Failure) -> Explanation:
    """PostgreSQL refuses a statement, since one before it in the same transaction has failed."""
    session = _Session(failure)
    return Explanation(
        "InFailedSqlTransaction: an earlier statement of this transaction failed, and its error was swallowed",
        f"{failure.quoted} is innocent: a statement before it failed in the same transaction, the error was caught, "
        "and the transaction went on.",
        "PostgreSQL ignores all statements of a transaction after an error, until it is rolled back.",
        [
            (
                "let only that part fail: a savepoint around the statement that may fail:",
                session.savepoint("execute"),
            ),
            session.rollback("DBAPIError"),
        ],
        follows=True,
    )


_closed = partial(
    recogniser, "sqlalchemy.exc.ResourceClosedError", section="resource-closed", sqlalchemy=True
)


@_closed(says="^This transaction is closed")
def closed_transaction(failure: Failure) -> Explanation | None:
    """A transaction that has ended is used or ended."""
    if failure.passed("sqlalchemy/orm/session.py", "_flush"):
        # It was a listener of the session's events that ended it.
        return None
    return Explanation(
        "ResourceClosedError: the transaction is over",
        f"{failure.quoted} ends or uses a transaction that has ended before.",
        "commit() or rollback() of a session ends the transaction that it joined, the one of a fixture or of an outer "
        "block included.",
        [
            (
                "let a session that commits join an outer transaction by savepoints:",
                'AsyncSession(connection, join_transaction_mode="create_savepoint")',
            ),
            (
                "or let the block end it, and nothing in it:",
                "async with session.begin():\n    …  # no commit() in here",
            ),
        ],
    )


@_closed(says="^This Connection is closed")
def closed_connection(failure: Failure) -> Explanation:
    """A connection is used after its block."""
    return Explanation(
        "ResourceClosedError: the connection is closed",
        f"{failure.quoted} uses a connection after its block, or after close().",
        "close() returns the connection to the pool; somebody else may have it by now.",
        [
            ("use it inside its block:", "async with engine.connect() as connection:\n    …  # in here"),
            (
                "or open another one:",
                "async with engine.connect() as connection:\n    await connection.execute(…)",
            ),
        ],
    )


@_closed(says=r"^This result object is closed\.")
def closed_result(failure: Failure) -> Explanation:
    """A result is read a second time."""
    return Explanation(
        "ResourceClosedError: the result is closed",
        f"{failure.quoted} reads from a result that is closed already.",
        "A result can be read once: first(), one(), scalar() and their like close it, and so does the end of its connection. "
        "After all() it is not closed, but empty: a second all() is [].",
        [
            ("keep the rows, not the result:", "rows = (await session.execute(statement)).all()"),
            ("or run the statement again:", "result = await session.execute(statement)"),
        ],
    )


@_closed(says=r"^This result object does not return rows\. It has been closed automatically\.")
def no_rows(failure: Failure) -> Explanation:
    """The rows of a statement are asked for that returns none."""
    return Explanation(
        "ResourceClosedError: the statement returns no rows",
        f"{failure.quoted} asks for rows of a statement that returns none.",
        "INSERT, UPDATE and DELETE return rows only with RETURNING.",
        [
            ("have it return them:", "await session.execute(insert(Model).values(…).returning(Model.id))"),
            ("or ask how many rows it touched:", "result.rowcount"),
        ],
    )


class _Session:
    """The session or connection of the user's own function, in code.

    Attributes:
        name: What the function calls it.
        asynchronous: `async `, or nothing if it is a synchronous one.
    """

    def __init__(self, failure: Failure) -> None:
        from sqlalchemy.orm import Session

        variables = failure.users.locals if failure.users else {}
        found = (name for name, value in variables.items() if synchronous(value) is not None)
        self.name = next(found, "session")
        plain = issubclass(type(variables.get(self.name)), Session)
        self.asynchronous, self._wait = ("", "") if plain else ("async ", "await ")

    def savepoint(self, method: str) -> str:
        """Let a part fail, which calls a method of the session."""
        wait, error = ("", "IntegrityError") if method == "add" else (self._wait, "DBAPIError")
        return (
            f"try:\n    {self.asynchronous}with {self.name}.begin_nested():\n"
            f"        {wait}{self.name}.{method}(…)\nexcept {error}:\n    …"
        )

    def rollback(self, error: str, more: str = "") -> Fix:
        """Roll back where an error is caught."""
        code = f"except {error}:\n    {self._wait}{self.name}.rollback()\n    …"
        return f"or roll back where the error is caught{more}:", code


def _original(failure: Failure) -> Any:
    """The exception that made the session need a rollback, if SQLAlchemy remembers it."""
    for frame in reversed(failure.frames):
        if frame.within("sqlalchemy/orm/session.py"):
            error = getattr(frame.locals.get("self"), "_rollback_exception", None)
            if isinstance(error, BaseException):
                return error
    return None
