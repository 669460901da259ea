"""Sessions, transactions and results that are used when they are over."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from greenroom.explain import fixes
from greenroom.explain.explanation import Explanation
from greenroom.explain.orm import Read, identified, read_of

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure

_DETACHED: Final = re.compile(
    r"(?:Parent instance|Instance) <(\w+) at 0x\w+> is not bound to a Session; "
    r"(lazy load|deferred load|attribute refresh) operation(?: of attribute '(\w+)')? cannot proceed"
)


def detached(failure: Failure) -> Explanation | None:
    """`DetachedInstanceError`: an attribute had to be loaded after the session was closed."""
    if not failure.of("sqlalchemy.orm.exc.DetachedInstanceError") or not (
        found := _DETACHED.search(failure.message)
    ):
        return None
    live = read_of(failure)
    if live is not None and live.state is not None:
        taken = live
    else:
        kind = {"lazy load": "relationship", "deferred load": "deferred"}.get(found[2], "expired")
        key = found[3] or (live.key if live and live.known else "attribute")
        owner = live.owner if live else "instance"
        taken = Read(frame=failure.users, why=kind, owner=owner, model=found[1], key=key)  # type: ignore[arg-type]
    if found[2] == "lazy load":
        # It was never loaded, though the instance may have expired as well.
        taken = replace(taken, why="relationship")
    first = fixes.keep_after_commit() if taken.why == "expired" else fixes.in_the_query(taken)
    name = f"`{taken.owner}.{taken.key}`" if taken.key != "attribute" else "an attribute"
    return Explanation(
        f"DetachedInstanceError: {taken.model}{f'.{taken.key}' if taken.key != 'attribute' else ''} was read after its "
        "session was closed",
        f"{name} of {identified(taken)} is {taken.condition}, so reading it queries the database. "
        + (f"The instance comes from {taken.origin.where}, `{taken.origin.value}`." if taken.origin else ""),
        "That takes the session which loaded the instance, and that one is closed, or has let the instance go.",
        [
            first,
            (
                "or, in a synchronous test, read it with the test's own session, which loads it:",
                f"session.get({taken.model}, …).{taken.key}",
            )
            if fixes.cannot_await(failure.users)
            else (
                "or read it while the session is open:",
                f"async with new_session() as session:\n    …\n    {taken.owner}.{taken.key}  # in here, loaded",
            ),
        ],
        "docs/faq.md#detached-instance",
        failure.where,
    )


def pending_rollback(failure: Failure) -> Explanation | None:
    """`PendingRollbackError`: a statement failed before, and the session was not rolled back."""
    if not failure.of("sqlalchemy.exc.PendingRollbackError") or not failure.in_sqlalchemy:
        return None
    if failure.message.startswith("Can't reconnect until invalid"):
        return _connection_lost(failure)
    original = _original(failure)
    text = ""
    if original is not None:
        text = f"{type(original).__name__}: {str(original).splitlines()[0]}"
    elif found := re.search(r"Original exception was: (.*)", failure.message):
        text = found[1]
    name = _session_of(failure)
    cause = f"It was: {text}" if text else "What that was is above in the log, or was swallowed."
    reason = ""
    if original is not None:
        from greenroom.explain.explaining import explain

        explanation = explain(original)
        reason = f"\nThat one: {explanation.title}." if explanation else ""
    waits = _waits(failure)
    return Explanation(
        "PendingRollbackError: the session has failed before, and was not rolled back",
        f"An earlier statement of this session failed, and the code went on with it. {cause}{reason}",
        "After an error the transaction is void. SQLAlchemy refuses everything until rollback() says that this is known.",
        [
            (
                "let only that part fail: a savepoint around what may fail:",
                f"try:\n    {waits[0]}with {name}.begin_nested():\n        {name}.add(…)\nexcept IntegrityError:\n    …",
            ),
            (
                "or roll back where the error is caught:",
                f"except IntegrityError:\n    {waits[1]}{name}.rollback()\n    …",
            ),
        ],
        "docs/faq.md#pending-rollback",
        failure.where,
    )


def _connection_lost(failure: Failure) -> Explanation:
    """SQLAlchemy has given the connection up in the middle of the transaction, and a savepoint cannot help."""
    name, waits = _session_of(failure), _waits(failure)
    return Explanation(
        "PendingRollbackError: the connection was lost in the middle of the transaction",
        f"`{failure.call}` goes on with a transaction whose connection is gone: the server ended it, or a query was cancelled "
        "(asyncio.timeout, wait_for, a client that left). That error was caught, or its task was not the one that ended.",
        "What the transaction had done is lost with its connection. SQLAlchemy connects anew only after rollback() says that "
        "this is known.",
        [
            (
                "give the session up with the task that was cancelled, and begin again in a new one:",
                f"{waits[0]}with new_session() as {name}:\n    …",
            ),
            (
                "or roll back where the error is caught, and do all of it again:",
                f"except DBAPIError:\n    {waits[1]}{name}.rollback()\n    …",
            ),
        ],
        "docs/faq.md#connection-lost-in-a-transaction",
        failure.where,
    )


def failed_transaction(failure: Failure) -> Explanation | None:
    """PostgreSQL refuses a statement, since one before it in the same transaction has failed."""
    if not failure.of(
        "psycopg.errors.InFailedSqlTransaction",
        "asyncpg.exceptions.InFailedSQLTransactionError",
        "psycopg2.errors.InFailedSqlTransaction",
    ):
        return None
    name, waits = _session_of(failure), _waits(failure)
    return Explanation(
        "InFailedSqlTransaction: an earlier statement of this transaction failed, and its error was swallowed",
        f"`{failure.call}` is innocent: a statement before it failed in the same transaction, the error was caught, "
        "and the transaction went on.",
        "PostgreSQL ignores all statements of a transaction after an error, until it is rolled back.",
        [
            (
                "let only that part fail: a savepoint around the statement that may fail:",
                f"try:\n    {waits[0]}with {name}.begin_nested():\n        {waits[1]}{name}.execute(…)\nexcept DBAPIError:\n    …",
            ),
            (
                "or roll back where the error is caught:",
                f"except DBAPIError:\n    {waits[1]}{name}.rollback()\n    …",
            ),
        ],
        "docs/faq.md#failed-transaction",
        failure.where,
    )


def closed(failure: Failure) -> Explanation | None:
    """`ResourceClosedError`: a transaction, connection or result that is over."""
    if not failure.of("sqlalchemy.exc.ResourceClosedError") or not failure.in_sqlalchemy:
        return None
    call = failure.call
    match failure.message.partition("(Background")[0].strip():
        # In a flush, it was a listener of the session's events that ended it.
        case "This transaction is closed" if not failure.passed("sqlalchemy/orm/session.py", "_flush"):
            title, what = (
                "the transaction is over",
                f"`{call}` ends or uses a transaction that has ended before.",
            )
            why = (
                "commit() or rollback() of a session ends the transaction that it joined, the one of a fixture or of an outer "
                "block included."
            )
            helps = [
                (
                    "let a session that commits join an outer transaction by savepoints:",
                    'AsyncSession(connection, join_transaction_mode="create_savepoint")',
                ),
                (
                    "or let the block end it, and nothing in it:",
                    "async with session.begin():\n    …  # no commit() in here",
                ),
            ]
        case "This Connection is closed":
            title, what = (
                "the connection is closed",
                f"`{call}` uses a connection after its block, or after close().",
            )
            why = "close() returns the connection to the pool; somebody else may have it by now."
            helps = [
                ("use it inside its block:", "async with engine.connect() as connection:\n    …  # in here"),
                (
                    "or open another one:",
                    "async with engine.connect() as connection:\n    await connection.execute(…)",
                ),
            ]
        case "This result object is closed.":
            title, what = "the result is closed", f"`{call}` reads from a result that is closed already."
            why = (
                "A result can be read once: first(), one(), scalar() and their like close it, and so does the end of its "
                "connection. After all() it is not closed, but empty: a second all() is []."
            )
            helps = [
                ("keep the rows, not the result:", "rows = (await session.execute(statement)).all()"),
                ("or run the statement again:", "result = await session.execute(statement)"),
            ]
        case "This result object does not return rows. It has been closed automatically.":
            title, what = (
                "the statement returns no rows",
                f"`{call}` asks for rows of a statement that returns none.",
            )
            why = "INSERT, UPDATE and DELETE return rows only with RETURNING."
            helps = [
                (
                    "have it return them:",
                    "await session.execute(insert(Model).values(…).returning(Model.id))",
                ),
                ("or ask how many rows it touched:", "result.rowcount"),
            ]
        case _:
            return None
    return Explanation(
        f"ResourceClosedError: {title}", what, why, helps, "docs/faq.md#resource-closed", failure.where
    )


def _session_of(failure: Failure) -> str:
    """What the user's own function calls its session or connection."""
    from greenroom.explain.orm import synchronous

    frame = failure.users
    for name, value in frame.locals.items() if frame else ():
        if synchronous(value) is not None:
            return name
    return "session"


def _waits(failure: Failure) -> tuple[str, str]:
    """`async ` and `await `, or nothing if the session is a synchronous one."""
    from sqlalchemy.orm import Session

    users = failure.users
    session = users.locals.get(_session_of(failure)) if users else None
    return ("", "") if issubclass(type(session), Session) else ("async ", "await ")


def _original(failure: Failure) -> Any:
    """The exception that made the session need a rollback, if SQLAlchemy remembers it."""
    for frame in reversed(failure.frames):
        if frame.within("sqlalchemy/orm/session.py"):
            error = getattr(frame.locals.get("self"), "_rollback_exception", None)
            if isinstance(error, BaseException):
                return error
    return None
