"""One database to migrate, and clones of what it was: the state before any revision is there in some milliseconds."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import psycopg

from greenroom import runtime
from greenroom.connection import BUILD, CONNECT, connect
from greenroom.database import extensions, migrate, template
from greenroom.database.admin import Admin
from greenroom.database.clone import name_for
from greenroom.errors import TemplateError

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.servers import Server

_KEPT: Final = 4
"""States that are kept besides the first. The checks go through the history in its order and need the last one, mostly."""


class States:
    """The database `work`, and the states that it can be brought to.

    It has one name all the time: a project that makes its engine of its settings knows but one.

    Args:
        config: The project.
        server: The server, which runs.

    Raises:
        TemplateError: An extension cannot be created, or a file of `before` fails.

    Attributes:
        url: The database as the owner, for psycopg.
        application: The same as the application has it, as the owner, too.
    """

    def __init__(self, config: Config, server: Server) -> None:
        self._config = config
        self._server = server
        self._run = secrets.token_hex(4)
        self._work = name_for(self._run, "migrations")
        self.url = template.role_url(config, server, self._work, config.owner)
        self.application = template.app_url(config, server, self._work, config.owner)
        self._admin = Admin(server.admin)
        self._admin.hold(self._work)
        for role in config.all_roles:
            self._admin.ensure_role(role, template.password(server, role), beside=config.all_roles)
        # Copying files waits for a checkpoint, which on somebody else's disk takes its time.
        self._strategy = "file_copy" if server.ours and self._admin.version >= 150000 else None
        self._states: dict[frozenset[str], str] = {}
        self._untouched: frozenset[str] | None = None
        self._made = 0
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def open(self, applied: frozenset[str]) -> frozenset[str]:
        """Make `work` anew from the nearest state, for the caller to change. Returns the revisions that are applied there.

        Args:
            applied: The revisions that are wanted; the state has some of them and no other.
        """
        nearest = max((each for each in self._states if each <= applied), key=len)
        # The one used last stands last.
        self._states[nearest] = source = self._states.pop(nearest)
        if self._untouched != nearest:
            self._admin.drop(self._work)
            self._clone(source, self._work)
        self._untouched = None
        return nearest

    def keep(self, applied: frozenset[str]) -> None:
        """Keep `work` as the state in which these revisions are applied."""
        self._untouched = applied
        if applied in self._states:
            return
        self._made += 1
        name = name_for(self._run, f"migrations_{self._made}")
        self._admin.hold(name)
        self._end_sessions()
        self._clone(self._work, name)
        self._states[applied] = name
        for old in [each for each in self._states if each][:-_KEPT]:
            self._admin.drop(self._states.pop(old))

    @contextlib.contextmanager
    def connection(self, *, bare: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """A connection to `work` as the admin.

        Args:
            bare: With no search path, so that all names in what the catalog says are complete.
        """
        url = self._server.admin.set(database=self._work)
        options = "-c search_path=" if bare else ""
        with connect(url, answer=BUILD, autocommit=True, options=options) as connection:
            yield connection

    def close(self) -> None:
        """Drop all, unless they go away with the server anyway."""
        # A server that does not answer now keeps the end of the run no longer than this.
        self._admin.answer = CONNECT
        if not self._server.disposable:
            for name in (self._work, *self._states.values()):
                self._admin.drop(name)
        self._admin.close()

    def _build(self) -> None:
        """Make the first state: the extensions, and what a deployment does by hand."""
        self._create(self._work)
        what = ""
        extensions.create(self._config, self._server, self._work)
        try:
            with connect(self.url, answer=BUILD, autocommit=True) as connection:
                for what in self._config.before:
                    connection.execute((self._config.root / what).read_bytes())
        except psycopg.Error as error:
            said = str(error.diag.message_primary or error)
            raise TemplateError(
                f"The database that the migrations begin with cannot be made ({what}): {said}.",
                hint=migrate.hint(self._config, self._server, said),
            ) from None
        self.keep(frozenset())

    def _clone(self, source: str, name: str) -> None:
        self._create(name, template=source, strategy=self._strategy)

    def _create(self, name: str, **more: Any) -> None:
        self._admin.create(
            name,
            "run",
            owner=self._config.owner,
            checkout=runtime.identity(self._config.root),
            details={"strategies": {}},
            **more,
        )

    def _end_sessions(self) -> None:
        """End the connections to `work`: what has some cannot be cloned."""
        with connect(self._server.admin, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [self._work],
            )
