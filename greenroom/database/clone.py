"""One process's own database: cloned from the template, rewound after each test, dropped at the end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg

from greenroom import runtime
from greenroom.connection import CONNECT
from greenroom.database.admin import Admin
from greenroom.database.marks import PREFIX
from greenroom.database.rewind.rewinder import Rewinder

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.servers import Server

LOCK_TIMEOUT = "10s"
"""How long a statement of the application waits for a lock: a test that blocks itself fails, instead of hanging."""


def name_for(run: str, worker: str) -> str:
    """The database's name, known before it exists.

    Args:
        run: A short token of the test run.
        worker: The worker's name, `gw0` and so on, or `main`.
    """
    return f"{PREFIX}{run}_{worker}"


class Clone:
    """A clone of the template that is this process's own.

    Args:
        config: The project.
        server: The server, which runs.
        template: The template's name.
        name: The clone's name, from `name_for`.

    Attributes:
        rewinder: Brings it back to the template's state.
    """

    def __init__(self, config: Config, server: Server, *, template: str, name: str) -> None:
        self._config = config
        self._template = template
        self._disposable = server.disposable
        self.name = name
        self._url = server.admin.set(database=name)
        self._admin = Admin(server.admin)
        # Before the database is there: from its first moment on, others see that it is in use.
        self._admin.hold(name)
        # Shared: others may clone it as well, but nobody may drop it as long as this one may have to be cloned again.
        self._admin.hold(template, shared=True)
        self._create()
        self.rewinder = Rewinder(self._url, timeout=self._config.timeout)

    def renew(self) -> None:
        """Drop the database and clone it again under the same name, ending all connections to it.

        Its baselines are kept, unless the schema was changed in one: then there are none.
        """
        saved = self.rewinder.baselines.saved()
        self.rewinder.close()
        self._admin.drop(self.name)
        for role in self._config.all_roles:
            self._admin.reset_role(role)
        self._create()
        self.rewinder = Rewinder(self._url, timeout=self._config.timeout)
        if saved:
            self.rewinder.baselines.restore(saved)
            self.rewinder.rewind()

    def close(self) -> None:
        """Drop the database, unless it goes away with its server anyway, and let go of it."""
        self.rewinder.close()
        # The run is over: a server that does not answer now keeps it no longer than this.
        self._admin.answer = CONNECT
        if not self._disposable:
            # One that has ended is no longer this run's to clean up. If it is there again, the next run does it.
            with contextlib.suppress(psycopg.OperationalError):
                self._admin.drop(self.name)
        self._admin.close()

    def _create(self) -> None:
        self._admin.create(
            self.name,
            "run",
            owner=self._config.owner,
            checkout=runtime.identity(self._config.root),
            template=self._template,
        )
        self._admin.set_for(self.name, lock_timeout=LOCK_TIMEOUT)
