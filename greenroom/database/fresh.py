"""A database that is there for one command."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenroom.database import template
from greenroom.database.clone import Clone, name_for
from greenroom.urls import of_database

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say
    from greenroom.servers.base import Server


@contextlib.contextmanager
def fresh(config: Config, server: Server, say: Say) -> Iterator[URL]:
    """Clone the templates of a project's databases, and drop the clones afterwards. Yields the main one's URL, as the application has it.

    Args:
        config: The project.
        server: The server, which is started if it does not run.
        say: Takes progress.

    Raises:
        GreenroomError: The server does not start, or the template cannot be built.
    """
    if not server.running():
        server.start(say)
    name = name_for(secrets.token_hex(4), "exec")
    with contextlib.ExitStack() as stack:
        for each in (config, *config.databases.values()):
            source = template.ensure(each, server, say)
            clone = Clone(each, server, template=source, name=of_database(name, each.name))
            stack.callback(clone.close)
        yield template.app_url(config, server, name)
