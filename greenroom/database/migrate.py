"""Build the schema in an empty database, in a process of its own; see `schema` for what that does.

A process of its own, so that the test process imports the application only after it has its own database, and so that
an env.py that starts an event loop finds none running.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from greenroom.database import extensions
from greenroom.database.schema import APPLICATION_VARIABLE, DATABASE_VARIABLE, RESULT_VARIABLE, URL_VARIABLE
from greenroom.errors import TemplateError
from greenroom.places import indented
from greenroom.processes import captured

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.servers import Server


def run(config: Config, server: Server, url: URL, application: URL) -> list[str]:
    """Build the schema in the empty database at `url`, and seed it. Returns what the user should know, a line each.

    Args:
        config: The project.
        server: The server, for what helps against its errors.
        url: The database, as the role that is to own what is in it, for psycopg.
        application: The same as the application has it, for migrations that read its settings.

    Raises:
        TemplateError: It failed, with the place in the project's own files and the error.
    """
    schema = f"The schema of the database {config.name}" if config.name else "The schema"
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        environ = os.environ | config.environment_for(application)
        environ[URL_VARIABLE] = url.render_as_string(hide_password=False)
        environ[APPLICATION_VARIABLE] = application.render_as_string(hide_password=False)
        environ[DATABASE_VARIABLE] = config.name
        environ[RESULT_VARIABLE] = str(result)
        try:
            done = captured(
                [sys.executable, "-m", "greenroom.database.schema", str(config.root)],
                environ,
                cwd=config.root,
                merged=True,
                seconds=config.migration_timeout or None,
            )
        except subprocess.TimeoutExpired as error:
            said = error.output or ""
            raise TemplateError(
                f"{schema} was not built within {config.migration_timeout} s.\n{indented(said)}".rstrip(),
                hint="if it may take longer: migration_timeout = 3600 in [tool.greenroom]; 0 waits without an end",
            ) from None
        if done.returncode:
            # Python's own for an error says nothing.
            code = "" if done.returncode == 1 else f" (exit code {done.returncode})"
            raise TemplateError(
                f"{schema} could not be built{code}.\n{indented(done.stdout)}",
                hint=hint(config, server, done.stdout),
            )
        if not result.exists():
            raise TemplateError(
                f"{schema} is not complete: something ended the process that builds it with exit code 0.\n"
                f"{indented(done.stdout)}".rstrip(),
                hint="a migration must not call sys.exit()",
            )
        notes: list[str] = json.loads(result.read_text(encoding="utf-8"))
        return notes


_HINTS: Final = (
    (
        r'permission denied to create extension "([^"]+)"',
        'the admin creates it before the migrations: extensions = ["{}"] in [tool.greenroom]',
    ),
    (
        r'permission denied to create role|role "([^"]+)" does not exist',
        'the admin makes roles before the migrations: roles = ["{}"] in [tool.greenroom]',
    ),
    (
        r'schema "([^"]+)" does not exist',
        'if a deployment makes it by hand: before = ["schemas.sql"] in [tool.greenroom], with CREATE SCHEMA {};',
    ),
)
"""What an error of the server means here, and what helps, with the name that it is about."""


def hint(config: Config, server: Server, said: str) -> str:
    """What helps against an error of building a schema.

    Args:
        config: The project.
        server: The server, which runs.
        said: What the server, or a migration, has said.
    """
    if about_extension := extensions.helps(config, server, said):
        return about_extension
    for pattern, text in _HINTS:
        if found := re.search(pattern, said):
            return text.format(found[1] or "…")
    return "correct it, then: greenroom migrate (GREENROOM_TRACEBACK=1 shows the whole traceback)"
