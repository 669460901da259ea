"""greenlet is not installed, or an asynchronous engine is in the hands of synchronous code."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from greenroom.explain.explanation import Explanation

if TYPE_CHECKING:
    from greenroom.explain.failure import Failure


_MANAGER: Final = "_AsyncGeneratorContextManager"
_ATTRIBUTE: Final = re.compile(
    r"'(AsyncEngine|AsyncConnection)' object has no attribute '(?:_run_ddl_visitor|exec_driver_sql|dialect|cursor)'"
)
# Python 3.14 gives the class's full name, and goes on.
_ENTERED: Final = re.compile(
    rf"'(?:(?:sqlalchemy\.ext\.asyncio\.\w+|contextlib)\.)?(AsyncConnection|{_MANAGER}|AsyncSession)' object does not support the context manager protocol\b.*"
)


def no_greenlet(failure: Failure) -> Explanation | None:
    """SQLAlchemy 2.1 says so when `sqlalchemy.ext.asyncio` is imported, 2.0 when a connection is made."""
    new = failure.of("ImportError") and failure.message.startswith(
        "The SQLAlchemy asyncio module requires that the Python 'greenlet' library is installed"
    )
    old = failure.of("ValueError") and failure.message.startswith(
        "the greenlet library is required to use this function."
    )
    if not (new or old) or not any(frame.of_sqlalchemy for frame in failure.after_users):
        return None
    return Explanation(
        "greenlet is not installed",
        "SQLAlchemy's asynchronous side needs the package greenlet, and it cannot be imported here.",
        "SQLAlchemy 2.1 installs it only with its extra `asyncio`; 2.0 does so on the common platforms only.",
        [
            ("ask for it with SQLAlchemy:", "pip install 'sqlalchemy[asyncio]'"),
            ("and write it down where the dependencies stand:", 'dependencies = ["sqlalchemy[asyncio]"]'),
        ],
        "docs/faq.md#greenlet-is-not-installed",
        failure.where,
    )


def asynchronous_engine(failure: Failure) -> Explanation | None:
    """An `AsyncEngine`, or what it made, where synchronous code expects an `Engine`."""
    users = failure.users
    if users is None or not failure.of("AttributeError", "TypeError") or users.text.startswith("raise"):
        return None
    found = _ATTRIBUTE.fullmatch(failure.message) or _ENTERED.fullmatch(failure.message)
    if not found or (failure.error is not None and not _is_theirs(failure)):
        return None
    kind, call = found[1], users.call
    if kind == _MANAGER and failure.error is None and ".begin()" not in users.text:
        # Many other things are made by contextlib, and a pasted text has no objects.
        return None
    create = "create_all" in users.text or "drop_all" in users.text
    second = (
        (
            "or hand the synchronous code over:",
            "async with engine.begin() as connection:\n    await connection.run_sync(metadata.create_all)",
        )
        if create
        else (
            "or use it in asynchronous code:",
            "async with engine.connect() as connection:\n    await connection.execute(…)",
        )
    )
    return Explanation(
        f"{failure.kinds[0]}: an asynchronous engine in synchronous code",
        f"`{call}` is synchronous code, and was given an {kind}.",
        "AsyncEngine, AsyncConnection and AsyncSession are not the synchronous ones with other drivers: each of their calls must be awaited.",
        [
            (
                "use a synchronous engine; greenroom's fixture is one:",
                "def test_it(engine):\n    with engine.connect() as connection:\n        …",
            ),
            second,
        ],
        "docs/faq.md#asynchronous-engine-in-synchronous-code",
        failure.where,
    )


def _is_theirs(failure: Failure) -> bool:
    """Whether one of SQLAlchemy's asynchronous objects was in the hands of the line that failed."""
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    if module is None:
        return False
    kinds = (module.AsyncEngine, module.AsyncConnection, module.AsyncSession)
    obj = getattr(failure.error, "obj", None)
    users = failure.users
    names = {**users.globals, **users.locals} if users else {}
    used = set(re.findall(r"\w+", users.text)) if users else set()
    return issubclass(type(obj), kinds) or any(
        issubclass(type(value), kinds) for name, value in names.items() if name in used
    )
