"""One process's own database: cloned from the template, rewound after each test, dropped at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom import checkout
from greenroom.database.admin import Admin
from greenroom.database.marks import PREFIX
from greenroom.database.rewind import Rewinder, Rewound

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
        self._rewinder = Rewinder(self._url)

    def rewind(self) -> Rewound:
        """Bring the database back to the template's state; see `Rewinder.rewind` for what it raises."""
        return self._rewinder.rewind()

    def touched(self) -> int:
        """How many tables were written to since the last rewind."""
        return self._rewinder.touched()

    def others(self) -> bool:
        """Whether anybody else is connected to the database."""
        return self._rewinder.others()

    def accept_locks(self) -> None:
        """Take the advisory locks that connections hold now for granted; see `Rewinder.accept_locks`."""
        self._rewinder.accept_locks()

    def renew(self) -> None:
        """Drop the database and clone it again under the same name, ending all connections to it."""
        self._rewinder.close()
        self._admin.drop(self.name)
        self._admin.reset_role(self._config.role)
        self._create()
        self._rewinder = Rewinder(self._url)

    def close(self) -> None:
        """Drop the database, unless it goes away with its server anyway, and let go of it."""
        self._rewinder.close()
        if not self._disposable:
            self._admin.drop(self.name)
        self._admin.close()

    def _create(self) -> None:
        self._admin.create(
            self.name,
            "run",
            owner=self._config.role,
            checkout=checkout.identity(self._config.root),
            template=self._template,
        )
        self._admin.set_for(self.name, lock_timeout=LOCK_TIMEOUT)
