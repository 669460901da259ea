"""The commands about the checkout's server: up, down, status."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from greenroom import checkout, servers
from greenroom.cli.inside import server_that_runs
from greenroom.config import Config
from greenroom.output import Console
from greenroom.servers.base import Server, kinds


def up(config: Config, _options: argparse.Namespace, console: Console) -> int:
    """Start the checkout's server, unless it runs, and build the template, unless it is there."""
    kind, why = servers.obtain(config, console.say)
    console.say(f"engine {kind.kind} ({why})")
    server = kind.for_checkout(config)
    running = server.running()
    if running:
        console.say(f"already running: {server.where}")
    if kind.enters:
        migrate = ["greenroom", "migrate"]
        return server.enter(migrate) if running else server.start_and_enter(migrate, console.say)
    if not running:
        server.start(console.say)
    from greenroom.database import template
    from greenroom.database.admin import Admin

    with Admin(server.admin) as admin:
        for name in admin.sweep():
            console.say(f"dropped {name}, which a run that was killed had left")
    name = template.ensure(config, server, console.say)
    console.say(f"ready: {server.where}, template {name}")
    return 0


def down(config: Config, _options: argparse.Namespace, console: Console) -> int:
    """Stop the checkout's server whatever its kind, and remove what is left of dead runs."""
    found = False
    for kind in kinds().values():
        # By name: what "auto" passes over today may have been started yesterday.
        named = dataclasses.replace(config, engine=kind.kind)
        if kind.why_not(named) is None:
            found |= kind.for_checkout(named).remove(console.say)
    if not found:
        console.say("nothing was running")
    return 0


def logs(config: Config, options: argparse.Namespace, _console: Console) -> int:
    """Print the end of the log of the checkout's server."""
    print(server_that_runs(config).log(options.lines) or "")
    return 0


def status(config: Config, options: argparse.Namespace, _console: Console) -> int:
    """What runs, and which databases there are. Changes nothing."""
    kind, why = servers.choose(config)
    server = kind.for_checkout(config)
    facts = _facts(config, server, why)
    if options.json:
        print(json.dumps(facts, indent=2))
        return 0
    print(f"engine    {facts['engine']} ({why})")
    print(
        f"server    {facts['server']}{'' if facts['running'] else ' (not running; start it with: make test-up, or: greenroom up)'}"
    )
    if facts["running"]:
        print(f"template  {facts['template']['name']}: {facts['template']['state']}")
        for database in facts["databases"]:
            print(
                f"database  {database['name']} ({database['kind']}{', in use' if database['in_use'] else ''})"
            )
    return 0


def _facts(config: Config, server: Server, why: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "engine": server.kind,
        "why": why,
        "server": server.where,
        "running": server.running(),
        "template": None,
        "databases": [],
    }
    if not facts["running"]:
        return facts
    if server.enters:
        inside = json.loads(server.output(["greenroom", "status", "--json"]))
        return facts | {name: inside[name] for name in ("template", "databases")}
    from greenroom.database import fingerprint, template
    from greenroom.database.admin import Admin

    with Admin(server.admin) as admin:
        name = template.name_of(fingerprint.of(config, server_version=admin.version))
        databases = admin.databases()
        complete = any(database.name == name and database.complete for database in databases)
        facts["template"] = {
            "name": name,
            "state": "up to date" if complete else "to be built by the next run",
        }
        for database in databases:
            if database.checkout != checkout.identity(config.root):
                continue
            with admin.lock(database.name, wait=False) as free:
                facts["databases"].append({"name": database.name, "kind": database.kind, "in_use": not free})
    return facts
