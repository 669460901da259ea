"""The commands about databases: migrate, url, psql, exec."""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import shutil
import sys
from pathlib import Path

from greenroom import checkout, servers, urls
from greenroom.cli.inside import inside, server_that_runs
from greenroom.config import Config
from greenroom.database import fingerprint, strategy, template
from greenroom.database import kept as keeping
from greenroom.database.admin import Admin
from greenroom.database.clone import Clone, name_for
from greenroom.database.marks import PREFIX
from greenroom.errors import ServerError
from greenroom.output import Console
from greenroom.processes import run
from greenroom.servers.base import Server


@inside()
def migrate(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Build the template on the checkout's server, unless it is up to date."""
    server = server_that_runs(config)
    with Admin(server.admin) as admin:
        version = admin.version
        name = template.name_of(fingerprint.of(config, server_version=version))
        found = admin.find(name)
        if options.force and not options.status:
            with admin.lock(name, wait=False) as free:
                if not free:
                    raise ServerError(
                        f"The template {name} is in use by a run, which may have to clone it again.",
                        hint="greenroom migrate --force, when that run has ended",
                    )
                admin.drop(name)
            found = None
    there = found is not None and found.complete
    if options.status:
        for subject, content in fingerprint.parts(config, server_version=version):
            print(f"{hashlib.sha256(content).hexdigest()[:16]}  {subject}")
        print(f"{name}: {'up to date' if there else 'to be built by the next run'}")
        if found is not None and found.complete:
            print(f"cloned by {strategy.said(found.details['strategies'])}")
    elif there:
        console.say(f"up to date: {name}")
    else:
        console.say(f"ready: {template.ensure(config, server, console.say)}")
    return 0


@inside()
def url(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Print the URL of the checkout's database for people, or of one that was kept."""
    server = server_that_runs(config)
    found = template.app_url(config, server, _for_people(config, server, options.test, console))
    if options.libpq:
        print(urls.conninfo(found))
    else:
        found = urls.for_driver(found, "postgresql+psycopg") if options.sync else found
        print(found.render_as_string(hide_password=False))
    return 0


@inside()
def psql(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Open psql on the checkout's database for people, or on one that was kept."""
    server = server_that_runs(config)
    arguments = list(options.arguments)
    test = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    url = template.role_url(config, server, _for_people(config, server, test, console))
    program = shutil.which("psql") or servers.program("psql")
    if program is None:
        raise ServerError(
            "There is no psql here.", hint="install PostgreSQL's client programs, or: greenroom url --libpq"
        )
    environ = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    command = [program, urls.conninfo(url.set(password=None)), *_after_dashes(arguments)]
    sys.stdout.flush()
    os.execve(program, command, environ)  # noqa: S606 - in the place of this process: Ctrl-C is psql's


@inside(starts=True)
def execute(config: Config, options: argparse.Namespace, console: Console) -> int:
    """Run a command whose environment names a fresh clone of the template, which is dropped afterwards."""
    command = _after_dashes(options.arguments)
    if not command:
        console.error("exec needs a command", "greenroom exec -- alembic current")
        return 2
    kind, _why = servers.choose(config)
    server = kind.for_run(config)
    try:
        if not server.running():
            server.start(console.say)
        name = name_for(secrets.token_hex(4), "exec")
        clone = Clone(config, server, template=template.ensure(config, server, console.say), name=name)
        try:
            own = template.app_url(config, server, name)
            environment = urls.environment(own, config.database_url, config.environment)
            # Programs of the same environment are found even where it is not activated.
            path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
            return run(command, os.environ | environment | {"PATH": path})
        except FileNotFoundError:
            console.error(f"there is no program {command[0]!r}")
            return 127
        finally:
            clone.close()
    finally:
        server.stop()


def kept(config: Config, options: argparse.Namespace, console: Console) -> int:
    """List the databases that were kept, or remove them."""
    if options.drop:
        console.say(f"removed {keeping.clear(config)}")
        return 0
    for test, file in keeping.kept(config).items():
        print(f"{file.stat().st_size // 1024:6} KiB  {test}")
    return 0


def _for_people(config: Config, server: Server, test: str | None, console: Console) -> str:
    return _shell(config, server, console) if test is None else _restored(config, server, test, console)


def _restored(config: Config, server: Server, test: str, console: Console) -> str:
    """The database of a failed test, made again from its file, unless that was done already."""
    test, file = keeping.find(config, test)
    identity = checkout.identity(config.root)
    name = f"{PREFIX}kept_{hashlib.sha256(f'{identity} {file}'.encode()).hexdigest()[:12]}"
    written = file.stat().st_mtime
    with Admin(server.admin) as admin, admin.lock(name):
        found = admin.find(name)
        if found is not None and found.details.get("written") == written:
            return name
        console.say(f"restoring the database of {test} …")
        admin.drop(name)
        admin.ensure_role(config.role, template.password(config, server))
        admin.create(name, "shell", owner=config.role, checkout=identity, details={"written": written})
        try:
            template.create_extensions(config, server, name)
            keeping.restore(file, template.role_url(config, server, name))
        except BaseException:
            # Half of it would be taken for the whole the next time.
            admin.drop(name)
            raise
    return name


def _shell(config: Config, server: Server, console: Console) -> str:
    """The checkout's database for people, at the newest migration; what is done in it stays until then."""
    current = template.ensure(config, server, console.say)
    name = f"{PREFIX}{checkout.identity(config.root).replace('-', '_')}"
    with Admin(server.admin) as admin, admin.lock(name):
        found = admin.find(name)
        if found is not None and found.details.get("template") != current:
            console.say(f"the schema has changed: dropping {name} and making it anew")
            admin.drop(name)
            found = None
        if found is None:
            admin.create(
                name,
                "shell",
                owner=config.role,
                checkout=checkout.identity(config.root),
                template=current,
                details={"template": current},
            )
    return name


def _after_dashes(arguments: list[str]) -> list[str]:
    return arguments[1:] if arguments[:1] == ["--"] else arguments
