"""What drivers and servers say of prepared statements, of the number of connections, and of values."""

from __future__ import annotations

import re
from typing import Final

from greenroom.diagnosis.explanation import Explanation, Fix
from greenroom.explain.failure import Failure
from greenroom.explain.registry import recogniser

_CODECS: Final = re.compile(r"(?:^|[/\\])asyncpg[/\\]pgproto[/\\]")
_PREPARED: Final = "prepared-statements"
_WRAPPED: Final = (
    "sqlalchemy.exc.DBAPIError",
    "sqlalchemy.exc.NotSupportedError",
    "sqlalchemy.exc.OperationalError",
    "sqlalchemy.exc.ProgrammingError",
)
"""What SQLAlchemy makes of a driver's error. A pasted text may have that one only."""


@recogniser(
    "asyncpg.exceptions.InvalidCachedStatementError",
    "sqlalchemy.dialects.postgresql.asyncpg.InvalidCachedStatementError",
    "psycopg.errors.FeatureNotSupported",
    *_WRAPPED,
    says="cached statement plan is invalid|cached plan must not change result type",
    section=_PREPARED,
)
def stale_plan(failure: Failure) -> Explanation:
    """A table has changed under a statement that its connection had prepared."""
    return Explanation(
        "a prepared statement no longer fits its table",
        f"{failure.quoted} ran a statement that this connection had prepared before, and the tables or types that it reads have "
        "changed since: a migration, a CREATE or ALTER in a test, another search_path.",
        "The plan is the connection's. A pool keeps the connection, and so the plan.",
        [
            ("close the pooled connections after the change:", "await engine.dispose()"),
            (
                "or, where tables change all the time, prepare nothing (asyncpg):",
                'create_async_engine(url, connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0})',
            ),
        ],
    )


@recogniser(
    "asyncpg.exceptions.DuplicatePreparedStatementError",
    "asyncpg.exceptions.InvalidSQLStatementNameError",
    "psycopg.errors.DuplicatePreparedStatement",
    "psycopg.errors.InvalidSqlStatementName",
    *_WRAPPED,
    says=r'prepared statement "[^"]*" (?:already exists|does not exist)',
    section=_PREPARED,
)
def prepared_elsewhere(failure: Failure) -> Explanation:
    """A pooler has handed the server's connection to another client."""
    asyncpg: Fix = (
        "asyncpg: prepare under names that nobody else has, and keep none:",
        (
            "create_async_engine(\n    url,\n    poolclass=NullPool,\n    connect_args={\n"
            '        "statement_cache_size": 0,\n        "prepared_statement_cache_size": 0,\n'
            '        "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",\n    },\n)'
        ),
    )
    psycopg: Fix = (
        "psycopg: prepare nothing:",
        'create_async_engine(url, connect_args={"prepare_threshold": None})',
    )
    of_psycopg = any(kind.startswith("psycopg") for kind in failure.kinds)
    return Explanation(
        "a prepared statement is not this client's own",
        f"{failure.quoted} prepares a statement, or runs one that it has prepared, and the server's session has another idea of that "
        "name: another client used the same session, as behind pgbouncer (pool_mode = transaction or statement).",
        "Prepared statements belong to the server's session. A pooler hands one session to several clients in turn.",
        [
            psycopg if of_psycopg else asyncpg,
            ("or have the pooler keep a session for each client:", "pool_mode = session"),
        ],
    )


@recogniser(
    "asyncpg.exceptions.TooManyConnectionsError",
    "psycopg.OperationalError",
    "psycopg2.OperationalError",
    *_WRAPPED,
    says="sorry, too many clients already|too many connections for (?:role|database)|remaining connection slots are reserved",
    section="too-many-connections",
)
def too_many(failure: Failure) -> Explanation:
    """The server takes no more connections."""
    return Explanation(
        "the server has no connection left",
        f'{failure.quoted} asked the server for a connection, and it said: "{failure.said[0]}".',
        "Each engine has a pool of its own, each process its own engines, and each worker of a test run is a process. An engine that is "
        "made in a request or a test, and never disposed, keeps its connections.",
        [
            (
                "make one engine for the process, and dispose one that is made for a test:",
                "engine = create_async_engine(url, pool_size=5, max_overflow=0)\n…\nawait engine.dispose()",
            ),
            (
                "or allow more of them, in postgresql.conf or by hand:",
                "ALTER SYSTEM SET max_connections = 200",
            ),
        ],
    )


@recogniser(
    "asyncpg.exceptions.PostgresSyntaxError",
    "psycopg.errors.SyntaxError",
    *_WRAPPED,
    says="cannot insert multiple commands into a prepared statement",
    section="multiple-commands",
)
def multiple_commands(failure: Failure) -> Explanation:
    """Several statements in one string."""
    return Explanation(
        "several statements in one execute()",
        f"{failure.quoted} sends more than one statement, and a prepared statement is one.",
        "asyncpg prepares everything that SQLAlchemy sends; psycopg does so where there are parameters.",
        [
            (
                "send one after the other:",
                "for statement in statements:\n    await connection.execute(text(statement))",
            ),
            (
                "or hand a whole script to asyncpg's own execute():",
                "raw = await connection.get_raw_connection()\nawait raw.driver_connection.execute(script)",
            ),
        ],
    )


@recogniser(
    "asyncpg.exceptions.DataError",
    # What it comes from, where a text is cut off.
    "TypeError",
    *_WRAPPED,
    says="can't subtract offset-naive and offset-aware datetimes",
    section="naive-and-aware-datetimes",
)
def naive_and_aware(failure: Failure) -> Explanation | None:
    """A datetime with a timezone for a column without one."""
    if failure.of("TypeError") and not any(_CODECS.search(frame.file) for frame in failure.frames[-1:]):
        return None
    return Explanation(
        "DataError: a datetime with a timezone for a column without one",
        f"{failure.quoted} sends a datetime that has a timezone, and the column (or parameter) is TIMESTAMP WITHOUT TIME ZONE, which "
        "is what DateTime and Mapped[datetime] mean by default.",
        "asyncpg encodes such a column's values itself, and refuses one with a timezone. psycopg leaves that to the server, which "
        "drops the timezone.",
        [
            (
                "have the column keep it; with a migration:",
                "changed: Mapped[datetime] = mapped_column(DateTime(timezone=True))",
            ),
            ("or send one without, in UTC:", "datetime.now(UTC).replace(tzinfo=None)"),
        ],
    )
