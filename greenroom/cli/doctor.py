"""The command `doctor`: what greenroom needs, and what commonly goes wrong, checked one by one."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from greenroom import checkout, servers, urls
from greenroom.config import Config
from greenroom.database import template
from greenroom.errors import GreenroomError
from greenroom.output import Console
from greenroom.servers.base import kinds


class Check(NamedTuple):
    """What one check found."""

    subject: str
    outcome: Literal["ok", "note", "wrong"]
    found: str
    hint: str | None = None


def doctor(config: Config, options: argparse.Namespace, _console: Console) -> int:
    """Print what the checks found. 1 if anything is wrong."""
    checks = [*_machine(config), *_packages(config), *_coverage(config), *_application(config)]
    if options.json:
        print(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        width = max(len(check.subject) for check in checks)
        for check in checks:
            print(f"{check.outcome:5}  {check.subject:{width}}  {check.found}")
            if check.hint:
                print(f"{'':5}  {'':{width}}  → {check.hint}")
    return int(any(check.outcome == "wrong" for check in checks))


def _machine(config: Config) -> Iterator[Check]:
    yield Check("python", "ok", sys.version.split()[0])
    for kind in sorted(kinds().values(), key=lambda kind: kind.preference):
        reason = kind.why_not(config)
        yield Check(
            f"engine {kind.kind}", "note" if reason else "ok", reason or "available", reason and kind.remedy
        )
    try:
        kind, why = servers.choose(config)
        server = kind.for_checkout(config)
        yield Check(
            "engine", "ok", f"{kind.kind} ({why}), {'running' if server.running() else 'not running'}"
        )
        folder = checkout.runtime(config.root)
        free = shutil.disk_usage(folder.parent).free
        enough = free >= checkout.ROOM
        yield Check(
            "runtime folder",
            "ok" if enough else "wrong",
            f"{folder}, {free // 2**20} MiB free",
            None
            if enough
            else f"at least {checkout.ROOM // 2**20} MiB are needed; set GREENROOM_RUNTIME_DIR",
        )
    except GreenroomError as error:
        yield Check("engine", "wrong", error.message, error.hint)


def _packages(config: Config) -> Iterator[Check]:
    wanted = {
        # SQLAlchemy 2.1 does not install it by itself.
        "greenlet": "pip install 'sqlalchemy[asyncio]'",
    }
    if importlib.util.find_spec("httpx") is None:
        wanted["httpx2"] = "pip install httpx2  (Starlette's TestClient is made of it)"
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
        tomllib.loads((config.root / "pyproject.toml").read_text())
        .get("tool", {})
        .get("coverage", {})
        .get("run", {})
    )
    missing = {"greenlet", "thread"} - set(run.get("concurrency", []))
    if not missing:
        yield Check("coverage", "ok", "counts lines in greenlets and in the loop's thread")
    elif any((config.root / name).exists() for name in (".coveragerc", "setup.cfg", "tox.ini")) and not run:
        yield Check("coverage", "note", "its settings are not in pyproject.toml, so they were not checked")
    else:
        yield Check(
            "coverage",
            "wrong",
            f"concurrency lacks {' and '.join(sorted(missing))}, so lines after an awaited query count as not run",
            '[tool.coverage.run] concurrency = ["greenlet", "thread"] and core = "ctrace"',
        )


def _application(config: Config) -> Iterator[Check]:
    """The application imports, with a URL in its environment as a run would set it; nothing connects to it."""
    module, _, name = config.app.partition(":")
    try:
        kind, _why = servers.choose(config)
        url = template.app_url(config, kind.for_checkout(config), "greenroom_doctor")
    except GreenroomError:
        return
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}; {module}.{name.removesuffix('()')}"],
        cwd=config.root,
        env=os.environ
        | urls.environment(url, config.database_url, config.environment)
        | {"PYTHONPATH": os.pathsep.join([*config.import_paths, os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        yield Check("application", "ok", f"{config.app} imports")
    else:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        yield Check(
            "application",
            "wrong",
            f"{config.app}: {said[-1]}",
            f"python -c 'import {module}'",
        )
