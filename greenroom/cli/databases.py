"""The commands about databases: migrate, url, psql, exec."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import click

from greenroom import runtime, servers, urls
from greenroom.cli.call import PASSES, Call, examples, passed
from greenroom.cli.on_server import on_server
from greenroom.config import Config
from greenroom.database import extensions, fingerprint, keep_failed, strategy, template
from greenroom.database.admin import Admin
from greenroom.database.fresh import fresh
from greenroom.database.marks import PREFIX
from greenroom.errors import ServerError
from greenroom.output import Console
from greenroom.processes import run
from greenroom.servers.base import Server


@click.command
@click.option(
    "--status", is_flag=True, help="Build nothing; show what shapes the template, and whether it exists."
)
@click.option("--force", is_flag=True, help="Build it again even if it is up to date.")
@click.pass_obj
@on_server()
def migrate(call: Call, server: Server, status: bool, force: bool) -> int:
    """Build the template, unless it is up to date."""
    config, console = call.config, call.console
    with Admin(server.admin) as admin:
        version = admin.version
        name = template.name_of(fingerprint.of(config, server_version=version))
        found = admin.find(name)
        if force and not status:
            with admin.lock(name, wait=False) as free:
                if not free:
                    raise ServerError(
                        f"The template {name} is in use by a run, which may have to clone it again.",
                        hint="run greenroom migrate --force when that run has ended",
                    )
                admin.drop(name)
            found = None
    there = found is not None and found.complete
    if status:
        for subject, content in fingerprint.parts(config, server_version=version):
            print(f"{hashlib.sha256(content).hexdigest()[:16]}  {subject}")
        print(f"{name}: {'up to date' if there else 'to be built by the next run'}")
        if found is not None and found.complete:
            print(f"cloned by {strategy.said(found.details['strategies'])}")
            for note in found.details["notes"]:
                print(f"note: {note}")
    elif there:
        console.say(f"up to date: {name}")
    else:
        console.say(f"ready: {template.ensure(config, server, console.say)}")
    return 0


@click.command(
    epilog=examples("greenroom url", 'pg_dump "$(greenroom url --libpq)"', "greenroom url --sync test_create")
)
@click.argument("test", required=False, metavar="[TEST]")
@click.option("--sync", is_flag=True, help="For a synchronous engine (postgresql+psycopg).")
@click.option("--libpq", is_flag=True, help="For psql, pg_dump and other programs of libpq.")
@click.pass_obj
@on_server()
def url(call: Call, server: Server, test: str | None, sync: bool, libpq: bool) -> int:
    """Print the URL of a database to look around in, at the newest migration.

    TEST is the node id of a failed test, or a part of it. It selects that test's kept database.
    """
    if sync and libpq:
        raise click.UsageError("Use either --sync or --libpq, not both.")
    config, console = call.config, call.console
    found = template.app_url(config, server, _for_people(config, server, test, console))
    if libpq:
        print(urls.conninfo(found))
    else:
        found = urls.for_driver(found, "postgresql+psycopg") if sync else found
        print(found.render_as_string(hide_password=False))
    return 0


@click.command(
    context_settings=PASSES,
    options_metavar="[TEST]",
    epilog=examples(
        "greenroom psql", "greenroom psql -c 'SELECT count(*) FROM users'", "greenroom psql test_create"
    ),
)
@passed
@click.pass_obj
@on_server()
def psql(call: Call, server: Server, arguments: tuple[str, ...]) -> int:
    """Open psql on the database for people, at the newest migration, or on that of a failed test.

    TEST is the node id of a failed test, or a part of it. Passes all other arguments on to psql.

    The exit code is psql's, or 2 if greenroom could not run it.
    """
    config, console = call.config, call.console
    test = arguments[0] if arguments and not arguments[0].startswith("-") else None
    url = template.role_url(config, server, _for_people(config, server, test, console))
    program = shutil.which("psql") or servers.program("psql")
    if program is None:
        raise ServerError(
            "psql is not installed.",
            hint="install PostgreSQL's client programs, or use another client with: greenroom url --libpq",
        )
    environ = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    command = [program, urls.conninfo(url.set(password=None)), *arguments[test is not None :]]
    sys.stdout.flush()
    os.execve(program, command, environ)  # noqa: S606 - in the place of this process: Ctrl-C is psql's


@click.command(
    "exec",
    context_settings=PASSES | {"allow_interspersed_args": False},
    epilog=examples("greenroom exec alembic current", "greenroom exec -- uvicorn app.main:app --port 8000"),
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@on_server(starts=True)
def execute(call: Call, server: Server, command: tuple[str, ...]) -> int:
    """Run a command with a fresh database in its environment, which is dropped afterwards.

    The exit code is the command's, 127 if the program does not exist, or 2 if greenroom could not run it.
    """
    if not command:
        raise click.UsageError("exec needs a command, for example: greenroom exec alembic current")
    config, console = call.config, call.console
    try:
        with fresh(config, server, console.say) as own:
            environment = config.environment_for(own)
            # Programs of the same environment are found even where it is not activated.
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
            return run(command, os.environ | environment | {"PATH": path})
    except FileNotFoundError:
        console.error(f"There is no program {command[0]!r}.")
        return 127
    finally:
        server.stop()


@click.command
@click.option("--drop", is_flag=True, help="Remove them.")
@click.pass_obj
def kept(call: Call, drop: bool) -> int:
    """List the kept databases of failed tests."""
    config = call.config
    if drop:
        call.console.say(f"removed {keep_failed.clear(config)}")
        return 0
    for test, file in keep_failed.kept(config).items():
        print(f"{file.stat().st_size // 1024:6} KiB  {test}")
    return 0


def _for_people(config: Config, server: Server, test: str | None, console: Console) -> str:
    return _shell(config, server, console) if test is None else _restored(config, server, test, console)


def _restored(config: Config, server: Server, test: str, console: Console) -> str:
    """The database of a failed test, made again from its file, unless that was done already."""
    test, file = keep_failed.find(config, test)
    identity = runtime.identity(config.root)
    name = f"{PREFIX}kept_{hashlib.sha256(f'{identity} {file}'.encode()).hexdigest()[:12]}"
    written = file.stat().st_mtime
    with Admin(server.admin) as admin, admin.lock(name):
        found = admin.find(name)
        if found is not None and found.details.get("written") == written:
            return name
        console.say(f"restoring the database of {test} …")
        admin.drop(name)
        for role in config.all_roles:
            admin.ensure_role(role, template.password(server, role), beside=config.all_roles)
        admin.create(name, "shell", owner=config.owner, checkout=identity, details={"written": written})
        try:
            extensions.create(config, server, name)
            keep_failed.restore(file, template.role_url(config, server, name, config.owner))
        except BaseException:
            # Half of it would be taken for the whole the next time.
            admin.drop(name)
            raise
    return name


def _shell(config: Config, server: Server, console: Console) -> str:
    """Return the name of the checkout's database to look around in. Changes to it stay until the schema changes."""
    current = template.ensure(config, server, console.say)
    name = f"{PREFIX}{runtime.identity(config.root).replace('-', '_')}"
    with Admin(server.admin) as admin, admin.lock(name):
        found = admin.find(name)
        if found is not None and found.details.get("template") != current:
            console.say(f"the schema has changed: dropping {name} and making it again")
            admin.drop(name)
            found = None
        if found is None:
            admin.create(
                name,
                "shell",
                owner=config.owner,
                checkout=runtime.identity(config.root),
                template=current,
                details={"template": current},
            )
    return name
