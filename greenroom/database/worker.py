"""The database of one process of a run: made when it is first needed, rewound after each test, dropped at the end."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from greenroom import runtime
from greenroom.database import lost, template
from greenroom.database.admin import Admin
from greenroom.database.clone import Clone, name_for
from greenroom.errors import GreenroomError, LeftoverError, RewindError, ServerError
from greenroom.urls import for_driver

if TYPE_CHECKING:
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.database.rewind.rewinder import Rewinder
    from greenroom.output import Say
    from greenroom.servers.base import Server


class WorkerDatabase:
    """A clone of the template under a name that is known before it is there.

    Args:
        config: The project.
        server: The server, not necessarily started.
        run: A short token of the run.
        worker: The worker's name, or `main`.
        disconnect: Closes the pooled connections to the database of a name.
        evict: Ends what keeps a connection to it all the time.
        say: Takes lines for the user.

    Attributes:
        name: Its name.
        url: Its URL as the application has it.
        opening: How long it took to have it, in seconds.
        rewinds: How long each rewind took, in seconds; a fresh clone in the place of one counts in.
    """

    def __init__(
        self,
        config: Config,
        server: Server,
        *,
        run: str,
        worker: str,
        disconnect: Callable[[str], object],
        evict: Callable[[], object],
        say: Say,
    ) -> None:
        self.name = name_for(run, worker)
        self.url = template.app_url(config, server, self.name)
        self.opening = 0.0
        self.rewinds: list[float] = []
        self._config = config
        self._server = server
        self._run = run
        self._disconnect = partial(disconnect, self.name)
        self._evict = evict
        self._say = say
        self._clone: Clone | None = None
        self._template = ""
        self._failure: GreenroomError | None = None
        self._opening = threading.RLock()

    @property
    def is_open(self) -> bool:
        """Whether it is there by now."""
        return self._clone is not None

    @property
    def template(self) -> str:
        """The name of the template that it is a clone of. Opens it."""
        self.open()
        return self._template

    @property
    def sync_url(self) -> URL:
        """It as the application's role, for psycopg."""
        return for_driver(self.url, "postgresql+psycopg")

    def role_url(self, role: str) -> URL:
        """It as a role, for psycopg, on the shortest way there is."""
        return template.role_url(self._config, self._server, self.name, role)

    @property
    def admin_url(self) -> URL:
        """It as the admin, for psycopg."""
        return self._server.admin.set(database=self.name)

    @property
    def rewinder(self) -> Rewinder:
        """What rewinds it. It must be open."""
        assert self._clone is not None
        return self._clone.rewinder

    def open(self) -> None:
        """Start the server, build the template, clone it. Quick when it is there.

        Raises:
            GreenroomError: There can be none. Asked again, it says the same without trying again.
        """
        start = time.perf_counter()
        # The test asks for it in its own thread, and the application, when it connects, in the loop's.
        with self._opening:
            if self._failure is not None:
                raise self._failure
            if self._clone is not None:
                # What was left to wait for, if it was opened ahead.
                self.opening = self.opening or time.perf_counter() - start
                return
            try:
                self._clone = self._opened()
            except GreenroomError as error:
                self._failure = error
                raise
            except psycopg.Error as error:
                self._failure = ServerError(
                    f"The server refused: {' '.join(str(error).split())}.", hint="greenroom doctor"
                )
                raise self._failure from error
            self.opening = time.perf_counter() - start

    def open_ahead(self) -> None:
        """Open it in the background, if that only takes a clone: the checkout's own server is up, and the template is there.

        A run may need no database, and should not wait then for a server or a schema, or hear of them. Whatever goes wrong goes
        wrong again when the database is needed.
        """

        def work() -> None:
            with self._opening, contextlib.suppress(GreenroomError, psycopg.Error, OSError):
                if (
                    self._clone is None
                    and type(self._server).is_up(self._config)
                    and self._server.running()
                    and template.is_there(self._config, self._server)
                ):
                    self._clone = self._opened()

        threading.Thread(target=work, name="greenroom clone", daemon=True).start()

    def _opened(self) -> Clone:
        if not self._server.running():
            self._server.start(self._say)
        with Admin(self._server.admin) as admin:
            admin.sweep()
        self._template = template.ensure(self._config, self._server, self._say)
        return Clone(self._config, self._server, template=self._template, name=self.name)

    def rewind(self, *, stale: bool) -> None:
        """Bring it back to the template's state after a test.

        Args:
            stale: Pooled connections keep a setting that the test has made.

        Raises:
            LeftoverError: The test left a transaction open.
            RewindError: It could not be rewound.
            ServerError: It could not be cloned again, either.
        """
        if self._clone is None:
            return
        start = time.perf_counter()
        try:
            rewound = self._clone.rewinder.rewind()
            if rewound.beyond:
                self._renew_or_give_up()
            elif rewound.connections or stale:
                self._disconnect()
        except LeftoverError as error:
            # A connection that was ended may be in a pool.
            self._disconnect()
            if error.beyond:
                self._renew_or_give_up()
            raise
        except RewindError:
            # This test fails, but not the next one.
            self._renew_or_give_up()
            raise
        finally:
            self.rewinds.append(time.perf_counter() - start)

    def renew(self) -> None:
        """Clone it again under the same name. Pools that were connected to it connect again."""
        if self._clone is not None:
            self._disconnect()
            if self._clone.rewinder.others():
                # A connection that is kept would be ended under its owner's hands.
                self._evict()
            self._clone.renew()

    def _renew_or_give_up(self) -> None:
        """Clone it again, or say why that cannot be: then there is none for the next test, either."""
        try:
            self.renew()
        except psycopg.Error as error:
            what = (
                "The database could not be cloned again in the middle of the run"
                if self._server.running()
                else "The server has ended in the middle of the run"
            )
            raise lost.explained(self._server, what, error) from None

    @contextlib.contextmanager
    def scratch(self) -> Iterator[URL]:
        """An empty database of the application's role, for psycopg; dropped afterwards."""
        name = name_for(self._run, f"scratch_{secrets.token_hex(2)}")
        with Admin(self._server.admin) as admin:
            admin.hold(name)
            admin.create(name, "run", owner=self._config.owner, checkout=runtime.identity(self._config.root))
            try:
                yield self.sync_url.set(database=name)
            finally:
                admin.drop(name)

    def close(self) -> None:
        """Drop it, unless it goes away with its server anyway."""
        with self._opening:
            if self._clone is not None:
                self._clone.close()
