"""The commands about the checkout's server: up, down, status."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from greenroom import hints, runtime, servers
from greenroom.cli.call import Call
from greenroom.cli.on_server import server_that_runs
from greenroom.config import Config
from greenroom.output import Console
from greenroom.servers.base import Enclosed, Postgres, Server, kinds


@click.command
@click.pass_obj
def up(call: Call) -> int:
    """Start this checkout's Postgres, migrate the template, and leave it running."""
    config, console = call.config, call.console
    kind, why = servers.obtain(config, console.say)
    console.say(f"engine {kind.kind} ({why})")
    server = kind.for_checkout(config)
    running = server.running()
    if running:
        server.fits(config)
        console.say(f"already running: {server.where}")
    if isinstance(server, Enclosed):
        migrate = ["greenroom", "migrate"]
        return server.enter(migrate) if running else server.start_and_enter(migrate, console.say)
    assert isinstance(server, Server)
    try:
        if not running:
            server.start(console.say)
        name = _migrated(config, server, console)
    except KeyboardInterrupt:
        if not running:
            server.remove(console.say)
        raise
    console.say(f"ready: {server.where}, template {name}")
    return 0


def _migrated(config: Config, server: Server, console: Console) -> str:
    """Sweep the server's databases, and build all templates that are missing. Returns the name of the main one."""
    import psycopg

    from greenroom.database import lost, template
    from greenroom.database.admin import Admin

    try:
        with Admin(server.admin) as admin:
            for name in admin.sweep():
                console.say(f"dropped {name}, left behind by a killed run")
        name = template.ensure(config, server, console.say)
        for each in config.databases.values():
            template.ensure(each, server, console.say)
    except psycopg.OperationalError as error:
        raise lost.explained(server, "The server could not build the template", error) from None
    return name


@click.command
@click.pass_obj
def down(call: Call) -> int:
    """Stop this checkout's Postgres, whatever its kind, and remove its data and what killed runs have left."""
    config, console = call.config, call.console
    found = False
    for kind in kinds().values():
        # By name: what "auto" passes over today may have been started yesterday.
        named = dataclasses.replace(config, engine=kind.kind)
        if kind.why_not(named) is None:
            server = kind.for_checkout(named)
            found |= server.remove(console.say) if server.ours else _drop_all(config, server, console)
    if not found:
        console.say("nothing was running")
    return 0


def _drop_all(config: Config, server: Postgres, console: Console) -> bool:
    """Drop what is this checkout's on a server that is somebody else's."""
    if not server.running():
        return False
    from greenroom.database.admin import Admin

    with Admin(server.admin) as admin:
        return admin.drop_all(runtime.identity(config.root), config.all_roles, console.say)


@click.command
@click.option(
    "--lines", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="How many lines."
)
@click.pass_obj
def logs(call: Call, lines: int) -> int:
    """Print the end of the server's log."""
    print(server_that_runs(call.config).log(lines) or "")
    return 0


@click.command
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def status(call: Call, as_json: bool) -> int:
    """Show whether the server runs, the template, and the databases of this checkout. Changes nothing."""
    kind, why = servers.choose(call.config, Postgres)
    server = kind.for_checkout(call.config)
    running = server.running()
    found: dict[str, Any] = {
        "engine": server.kind,
        "reason": why,
        "running": running,
        "server": server.details,
        **(_databases(call.config, server) if running else {"template": None, "databases": []}),
    }
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"engine    {server.kind} ({why})")
    print(
        f"server    {server.where}"
        + ("" if running else f" (not running; start it with: {hints.typed('greenroom up')})")
    )
    if template := found["template"]:
        print(
            f"template  {template['name']}: {'up to date' if template['up_to_date'] else 'to be built by the next run'}"
        )
    for database in found["databases"]:
        print(f"database  {database['name']} ({database['kind']}{', in use' if database['in_use'] else ''})")
    return 0


def _databases(config: Config, server: Postgres) -> dict[str, Any]:
    """The template and the databases of this checkout, as `status --json` shows them."""
    if isinstance(server, Enclosed):
        inside = json.loads(server.output(["greenroom", "status", "--json"]))
        return {name: inside[name] for name in ("template", "databases")}
    from greenroom.database import fingerprint, template
    from greenroom.database.admin import Admin

    with Admin(server.admin) as admin:
        name = template.name_of(fingerprint.of(config, server_version=admin.version))
        found = admin.databases()
        own = []
        for database in found:
            if database.checkout == runtime.identity(config.root):
                with admin.lock(database.name, wait=False) as free:
                    own.append({"name": database.name, "kind": database.kind, "in_use": not free})
        up_to_date = any(database.name == name and database.complete for database in found)
        return {"template": {"name": name, "up_to_date": up_to_date}, "databases": own}
