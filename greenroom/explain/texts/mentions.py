"""Errors that a text mentions in the middle of a line: in a log's field, in an answer's JSON, in somebody's sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from greenroom.explain.failure import Failure
from greenroom.explain.texts.lines import lines_of

_KNOWN: Final = tuple(
    (kind, re.compile(message))
    for kind, message in (
        (
            "sqlalchemy.exc.MissingGreenlet",
            r"greenlet_spawn has not been called; can't call await_\w*\(\) here",
        ),
        (
            "sqlalchemy.exc.TimeoutError",
            r"QueuePool limit of size \d+ overflow -?\d+ reached, connection timed out, timeout [\d.]*\d",
        ),
        (
            "sqlalchemy.orm.exc.DetachedInstanceError",
            r"(?:Parent instance|Instance) <[^;]{1,100}? is not bound to a Session; [a-z ]+(?: '\w+')? cannot proceed",
        ),
        (
            "asyncpg.exceptions._base.InterfaceError",
            "cannot perform operation: another operation is in progress",
        ),
        (
            "sqlalchemy.exc.PendingRollbackError",
            (
                r"Can't reconnect until invalid (?:savepoint )?transaction is rolled back"
                r"|This Session's transaction has been rolled back due to a previous exception during flush[^\n]*"
            ),
        ),
        ("RuntimeError", r"Task <Task [^\n]*?> got Future <Future [^\n]*?> attached to a different loop"),
        ("RuntimeError", r"asyncio\.run\(\) cannot be called from a running event loop"),
        ("AttributeError", "'AsyncEngine' object has no attribute '_run_ddl_visitor'"),
        ("RuntimeWarning", r"coroutine '[\w.<>]+' was never awaited"),
        ("AttributeError", r"'coroutine' object has no attribute '\w+'"),
        ("AttributeError", r"'AsyncSession' object has no attribute '(?:exec|query)'"),
        (
            "asyncpg.exceptions.DuplicatePreparedStatementError",
            r'prepared statement "(?:__asyncpg_)?stmt_\w+" (?:already exists|does not exist)',
        ),
        (
            "psycopg.errors.DuplicatePreparedStatement",
            r'prepared statement "_pg3_\w+" (?:already exists|does not exist)',
        ),
        (
            "asyncpg.exceptions.InvalidCachedStatementError",
            "cached statement plan is invalid due to a database schema or configuration change",
        ),
        (
            "asyncpg.exceptions.DataError",
            r"invalid input for query argument [^\n]{1,200}\(can't subtract offset-naive and offset-aware datetimes\)",
        ),
        (
            "sqlalchemy.exc.IllegalStateChangeError",
            r"Method '\w+\(\)' can't be called here; method '\w+\(\)' is already in progress",
        ),
    )
)
"""The messages that no other error has, and whose they are."""

_SOURCE: Final = re.compile(
    r"^\s*(?:[#>]|\d+\s*[│|]|(?:raise|assert|with|match|except|import|from|print|return|def|if|elif)\b)"
    r"|==|\blog\w*\.\w+\(|\w = f?[\"']"
)
"""A line of a program, which may quote an error."""


def mentioned(text: str, read: Iterable[Iterable[Failure]]) -> Iterator[Failure]:
    """The errors that a text mentions, each as an error without frames.

    Args:
        text: The text.
        read: What was read of it as an error. That is not looked at again: who knows its class knows better.
    """
    judged = [failure.message for failures in read for failure in failures]
    seen: set[str] = set()
    for line in lines_of(text):
        if not isinstance(line, str):
            continue
        for kind, message in _KNOWN:
            for found in message.finditer(line):
                before = line[: found.start()]
                if _SOURCE.search(before) or found[0] in seen or any(found[0] in each for each in judged):
                    continue
                seen.add(found[0])
                yield Failure((kind,), found[0], ())
