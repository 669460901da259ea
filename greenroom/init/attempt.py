"""Try settings for real, in the project's own interpreter: `python -m greenroom.init.attempt ROOT`.

The settings are those of the file that `config.TRIED` names. A server of its own is started, the schema is built, and a second
process (`--started`) starts the application up with a database of its own, asks it for one page and commits once on each of its
engines. What was found is printed as JSON, one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import psycopg
from sqlalchemy import Engine, make_url, text

from greenroom import floors, servers
from greenroom.application import Application
from greenroom.config import find
from greenroom.database.fresh import fresh
from greenroom.diagnosis.exceptions import chain
from greenroom.errors import GreenroomError, RefusedError
from greenroom.guard import Guard
from greenroom.loop import Loop
from greenroom.loop.engines import instances
from greenroom.output import silent
from greenroom.places import explained
from greenroom.processes import captured
from greenroom.servers.base import Postgres, Server
from greenroom.urls import of_database

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config

START: Final = 60
"""Seconds for the application to start up, and for its page."""

_URL: Final = "GREENROOM_TRIED_URL"


def main() -> None:
    """Try it, and print what was found."""
    config = find(Path(sys.argv[1]))
    try:
        floors.check()
        found = _start(config) if sys.argv[2:] == ["--started"] else _tried(config)
    except GreenroomError as error:
        found = {"stage": "server", "error": error.message, "hint": error.hint}
    # What the application prints, or what it has put in the place of stdout, is not in the way.
    os.write(1, f"\n{json.dumps(found)}\n".encode())


def _tried(config: Config) -> dict[str, Any]:
    kind, _why = servers.choose(config, Postgres)
    server = kind.for_run(config)
    if not isinstance(server, Server):
        reason = "its database can be reached in a stack only, and what is tried runs outside of it"
        return {
            "stage": "server",
            "error": f"Engine {kind.kind}: {reason}.",
            "hint": "pip install 'greenroom[embedded]'",
        }
    try:
        with contextlib.ExitStack() as stack:
            try:
                url = stack.enter_context(fresh(config, server, silent))
            except GreenroomError as error:
                return {"stage": "schema", "error": error.message, "hint": error.hint}
            except psycopg.Error as error:
                return {"stage": "schema", "error": explained(error, config.root)}
            return started(config, url)
    finally:
        server.stop()


def started(config: Config, url: URL) -> dict[str, Any]:
    """Start the application up in a process of its own, ask it for a page, and commit with its engines.

    Args:
        config: The project.
        url: Its database, as it has it.

    Returns:
        `stage`: `startup`, `engine` or `done`; `error`, or `page`, `commits`, `elsewhere`, `failed` and `others`.
    """
    environ = os.environ | config.environment_for(url)
    environ[_URL] = url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "greenroom.init.attempt", str(config.root), "--started"]
    try:
        done = captured(command, environ, cwd=config.root, seconds=START)
    except subprocess.TimeoutExpired:
        return {"stage": "startup", "error": f"{config.app} did not start up within {START} s."}
    return last_line(done)


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a process that tried has printed last; if it ended otherwise, what it wrote to stderr."""
    for line in reversed(done.stdout.splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "stage" in found:
                return found
    return {
        "stage": "startup",
        "error": done.stderr.strip()[-2000:] or f"It ended with exit code {done.returncode}.",
    }


def _start(config: Config) -> dict[str, Any]:
    """Start the application up, ask it for a page, and commit with its engines."""
    url = make_url(os.environ.pop(_URL))
    sys.path[:0] = config.import_paths
    names = {of_database(str(url.database), each.name) for each in (config, *config.databases.values())}
    Guard([url], names=names, others=config.other_databases, variable=config.database_url).install()
    loop = Loop(START)
    application = Application(config, loop)
    found: dict[str, Any] = {"stage": "startup", "notes": []}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            app = application.asgi
            application.start()
            found["base_url"] = application.base_url
            found["page"] = _page(loop, app, str(urlsplit(application.base_url).hostname))
            found |= _commits(loop)
            application.stop()
    except Exception as error:  # noqa: BLE001 - whatever it raises is shown to the user
        return found | {
            "error": str(error) if isinstance(error, GreenroomError) else explained(error, config.root),
            "refused": _refused(error),
        }
    finally:
        with contextlib.suppress(GreenroomError):
            loop.close()
    return found | {"stage": "engine" if found["elsewhere"] and not found["commits"] else "done"}


def _refused(error: BaseException) -> bool:
    return any(isinstance(each, RefusedError) for each in chain(error, expected=True))


def _page(loop: Loop, app: Any, host: str) -> str:
    """Ask for one page, and return what it answers, or what it raises."""
    path = getattr(app, "openapi_url", None) or "/"
    try:
        return f"GET {path}: {loop.run(_status(app, path, host))}"
    except Exception as error:  # noqa: BLE001 - a page of the application may raise whatever it likes
        return f"GET {path}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


async def _status(app: Any, path: str, host: str) -> int:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [(b"host", host.encode())],
        "client": ("127.0.0.1", 1), "server": (host, 80), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return statuses[0]


def _commits(loop: Loop) -> dict[str, Any]:
    """Commit once with each engine that the process has. Returns where that worked, and what leads elsewhere."""
    commits, elsewhere, failed = 0, [], []
    synchronous = {id(each): each for each in instances(Engine) if each.dialect.name == "postgresql"}
    asynchronous: list[Any] = []
    if "sqlalchemy.ext.asyncio" in sys.modules:
        from sqlalchemy.ext.asyncio import AsyncEngine

        asynchronous = [each for each in instances(AsyncEngine) if each.dialect.name == "postgresql"]
    for engine in asynchronous:
        synchronous.pop(id(engine.sync_engine), None)
    for engine in [*asynchronous, *synchronous.values()]:
        try:
            if engine.dialect.is_async and engine in asynchronous:
                loop.run(_committed(engine))
            elif not engine.dialect.is_async:
                with engine.begin() as connection:
                    connection.execute(_WRITES)
            else:
                continue  # an engine whose wrapper is gone
            commits += 1
        except Exception as error:  # noqa: BLE001 - of the driver, whichever it is
            if _refused(error):
                elsewhere.append(engine.url.render_as_string(hide_password=True))
            else:
                failed.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
    others = sorted({each.dialect.name for each in instances(Engine)} - {"postgresql"})
    return {"commits": commits, "elsewhere": elsewhere, "failed": failed, "others": others}


_WRITES: Final = text("SELECT txid_current()")
"""A statement whose transaction is one that is written down."""


async def _committed(engine: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(_WRITES)


if __name__ == "__main__":
    main()
