"""Event loops in words."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from typing import Any, Final

from greenroom.diagnosis.frames import Line

GREENROOMS: Final = "greenroom's loop, the one of `client` and `run`"
THREAD: Final = "greenroom loop"
"""The name of the thread that runs that loop."""

_PORTAL: Final = "the loop of a portal of anyio, such as a TestClient has"
_RUNNERS: Final = (
    ("greenroom/loop/client.py", GREENROOMS),
    ("greenroom/loop/thread.py", GREENROOMS),
    ("pytest_asyncio/plugin.py", "a loop of pytest-asyncio"),
    ("anyio/pytest_plugin.py", "a loop of anyio's pytest plugin"),
    ("anyio/from_thread.py", _PORTAL),
    ("starlette/testclient.py", _PORTAL),
)


def runner(outside: Iterable[Line]) -> str:
    """What runs a loop.

    Args:
        outside: The lines that led to the loop's own functions, the innermost first.
    """
    for line in outside:
        # from_thread.run(…) hands a coroutine from a worker thread to the loop that has started the thread.
        if line.function in ("run", "run_sync") and line.file.replace("\\", "/").endswith(
            "/anyio/from_thread.py"
        ):
            continue
        for file, words in _RUNNERS:
            if line.file.replace("\\", "/").endswith(f"/{file}"):
                return words
        if line.is_users:
            return f"the loop that was started at {line}"
    return "an event loop"


def described(loop: Any) -> str:
    """A loop that does not run the current code, by what has become of it."""
    if not isinstance(loop, asyncio.AbstractEventLoop):
        return "another one"
    if loop.is_closed():
        return "a loop that is closed by now"
    # asyncio tells nobody else which thread runs a loop.
    ident = getattr(loop, "_thread_id", None)
    thread = next((thread for thread in threading.enumerate() if thread.ident == ident), None)
    if thread is None:
        return "another loop, which does not run at the moment"
    return GREENROOMS if thread.name == THREAD else f"the loop of the thread {thread.name!r}"
