"""greenlet is not installed, or an asynchronous engine is in the hands of synchronous code."""

from __future__ import annotations

import re
import sys
from typing import Final

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.failure import Failure
from greenroom.explain.registry import recogniser

_MANAGER: Final = "_AsyncGeneratorContextManager"


# SQLAlchemy 2.1 says so when `sqlalchemy.ext.asyncio` is imported, 2.0 when a connection is made.
@recogniser(
    "ImportError",
    says="^The SQLAlchemy asyncio module requires that the Python 'greenlet' library is installed",
    section="greenlet-is-not-installed",
)
@recogniser(
    "ValueError",
    says=r"^the greenlet library is required to use this function\.",
    section="greenlet-is-not-installed",
)
def no_greenlet(failure: Failure) -> Explanation | None:
    """SQLAlchemy misses greenlet."""
    if not any(frame.of_sqlalchemy for frame in failure.after_users):
        return None
    if re.search(r"DLL load failed|cannot open shared object|_greenlet|undefined symbol", failure.message):
        return Explanation(
            "greenlet is installed, and cannot be loaded",
            "SQLAlchemy's asynchronous side needs the package greenlet. It is there, but its compiled part is not, or is one for another "
            "Python or system.",
            "A new version of Python has no wheel of greenlet in its first weeks, and some systems have none at all; then it is compiled, "
            "with what is there.",
            [
                (
                    "install the wheel for this Python, which says so if there is none:",
                    "pip install --force-reinstall --only-binary greenlet greenlet",
                ),
                ("or use a version of Python that it has wheels for:", "uv python install 3.13"),
            ],
        )
    return Explanation(
        "greenlet is not installed",
        "SQLAlchemy's asynchronous side needs the package greenlet, and it cannot be imported here.",
        "SQLAlchemy 2.1 installs it only with its extra `asyncio`; 2.0 does so on the common platforms only.",
        [
            ("ask for it with SQLAlchemy:", "pip install 'sqlalchemy[asyncio]'"),
            ("and write it down where the dependencies stand:", 'dependencies = ["sqlalchemy[asyncio]"]'),
        ],
    )


@recogniser(
    "AttributeError",
    says=r"^'(AsyncEngine|AsyncConnection)' object has no attribute '(?:_run_ddl_visitor|exec_driver_sql|dialect|cursor)'$",
    section="asynchronous-engine-in-synchronous-code",
)
# Python 3.14 gives the class's full name, and goes on.
@recogniser(
    "AttributeError",
    "TypeError",
    says=rf"^'(?:(?:sqlalchemy\.ext\.asyncio\.\w+|contextlib)\.)?(AsyncConnection|{_MANAGER}|AsyncSession)' object does not support "
    r"the context manager protocol\b",
    section="asynchronous-engine-in-synchronous-code",
)
def asynchronous_engine(failure: Failure) -> Explanation | None:
    """An `AsyncEngine`, or what it made, where synchronous code expects an `Engine`."""
    users, kind = failure.users, failure.said[1]
    if failure.raised_by_hand or (failure.error is not None and (users is None or not _is_theirs(failure))):
        return None
    line = users.text if users else failure.message
    if kind == _MANAGER and failure.error is None and ".begin()" not in line:
        # Many other things are made by contextlib, and a pasted text has no objects.
        return None
    if "create_all" in line or "drop_all" in line or "_run_ddl_visitor" in line:
        second = (
            "or hand the synchronous code over:",
            "async with engine.begin() as connection:\n    await connection.run_sync(metadata.create_all)",
        )
    else:
        second = (
            "or use it in asynchronous code:",
            "async with engine.connect() as connection:\n    await connection.execute(…)",
        )
    return Explanation(
        f"{failure.kind}: an asynchronous engine in synchronous code",
        f"{failure.quoted} is synchronous code, and was given an {kind}.",
        "AsyncEngine, AsyncConnection and AsyncSession are not the synchronous ones with other drivers: each of their calls must be awaited.",
        [
            (
                "use a synchronous engine; greenroom's fixture is one:",
                "def test_it(engine):\n    with engine.connect() as connection:\n        …",
            ),
            second,
        ],
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
