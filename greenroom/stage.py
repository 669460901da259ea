"""All that one process of a test run has: its server, its database, its loop, its application.

    config ─► server ─► template ─► worker database ─► one loop ─► test ─► rewind

Nothing is started before a test needs it. What the application must know when it is imported, the URL of its database,
is known before: the names are chosen first, and the things made under them later.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import psycopg
from sqlalchemy import URL, Engine, create_engine

from greenroom import checkout, servers
from greenroom.application import Application, load
from greenroom.database import template
from greenroom.database.admin import Admin
from greenroom.database.clone import Clone, name_for
from greenroom.errors import GreenroomError, LeftoverError, RefusedError, RewindError, ServerError
from greenroom.guard import Guard
from greenroom.loop import Loop
from greenroom.servers.base import Server, kinds
from greenroom.urls import environment, for_driver, forget_libpq_environment
from greenroom.watch.session_state import SessionState
from greenroom.watch.watch import Watch

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from greenroom.config import Config
    from greenroom.output import Say

T = TypeVar("T")

_RUN: Final = "GREENROOM_RUN"
"""Environment variable that tells a run's workers what the managing process has chosen."""


class Stage:
    """What one process of a run has. Use `begin`.

    Attributes:
        may_use_database: The current test is not marked as one that has none.
        starts_for_each_test: The application is started up for each test, and not once.
        opening: How long it took to have a database, in seconds.
        watch: What is noticed while the tests run.
        rewinds: How long each rewind took, in seconds; a fresh clone in the place of one counts in.

    Args:
        config: The project.
        server: The server, not necessarily started.
        why: Why that kind of server was chosen.
        run: A short token of the run.
        worker: The worker's name, or `main`.
        say: Takes lines for the user.
    """

    def __init__(self, config: Config, server: Server, *, why: str, run: str, worker: str, say: Say) -> None:
        self.config = config
        self.server = server
        self.why = why
        self.run_token = run
        self.name = name_for(run, worker)
        self.may_use_database = True
        self.starts_for_each_test = config.lifespan == "test"
        self.opening = 0.0
        self.rewinds: list[float] = []
        self.loop = Loop()
        self.application = Application(config, self.loop)
        self._say = say
        self._clone: Clone | None = None
        self._failure: GreenroomError | None = None
        self._engine: Engine | None = None
        self._async_engine: AsyncEngine | None = None
        self._guard = Guard(
            server.admin,
            names={self.name},
            others=config.other_databases,
            variable=config.database_url,
            before=self._before_connect,
        )
        self._session_state = SessionState()
        self.watch = Watch(config)
        self._opening = threading.RLock()
        self._undo = contextlib.ExitStack()
        self.app_url = template.app_url(config, server, self.name)

    @classmethod
    def begin(cls, config: Config, say: Say) -> Self:
        """Choose the server and the names, and set the application's environment. Starts nothing.

        Raises:
            ServerError: No server can be had here.
        """
        told = _told(config)
        if told is not None:
            server = kinds()[told["kind"]].join(config, told["handle"])
            stage = cls(
                config,
                server,
                why=told["why"],
                run=told["run"],
                worker=os.environ["PYTEST_XDIST_WORKER"],
                say=say,
            )
        else:
            kind, why = servers.choose(config, entering=False)
            run = _TOKENS.pop() if _TOKENS else secrets.token_hex(4)
            stage = cls(config, kind.for_run(config), why=why, run=run, worker="main", say=say)
            stage.on_close(partial(_TOKENS.append, run))
        stage._set_environment()
        return stage

    # -- the database ------------------------------------------------------------------------------------------------

    @property
    def in_use(self) -> bool:
        """Whether this process has a database by now."""
        return self._clone is not None

    @property
    def sync_url(self) -> URL:
        """This process's database as the application's role, for psycopg."""
        return for_driver(self.app_url, "postgresql+psycopg")

    @property
    def admin_url(self) -> URL:
        """This process's database as the admin, for psycopg."""
        return self.server.admin.set(database=self.name)

    @property
    def engine(self) -> Engine:
        """A synchronous engine to the database."""
        if self._engine is None:
            self._engine = self.watch.current.engine = create_engine(self.sync_url)
        return self._engine

    def open(self) -> None:
        """Have a database: start the server, build the template, clone it. Quick when it is there.

        Raises:
            GreenroomError: It cannot be had. Asked again, it says the same without trying again.
        """
        # The test asks for it in its own thread, and the application, when it connects, in the loop's.
        with self._opening:
            if self._failure is not None:
                raise self._failure
            if self._clone is not None:
                return
            start = time.perf_counter()
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

    def _opened(self) -> Clone:
        if not self.server.running():
            self.server.start(self._say)
        with Admin(self.server.admin) as admin:
            admin.sweep()
        name = template.ensure(self.config, self.server, self._say)
        return Clone(self.config, self.server, template=name, name=self.name)

    def rewind(self) -> None:
        """Bring the database back to the template's state after a test.

        Raises:
            LeftoverError: The test left a transaction open.
            RewindError: The database could not be rewound.
        """
        if self._clone is None:
            return
        start = time.perf_counter()
        try:
            rewound = self._clone.rewind()
            if rewound.beyond:
                self._renew_or_give_up()
            elif rewound.connections or self._session_state.changed:
                self.loop.dispose_engines(self.name)
        except LeftoverError as error:
            # A connection that was ended may be in a pool.
            self.loop.dispose_engines(self.name)
            if error.beyond:
                self._renew_or_give_up()
            raise
        except RewindError:
            # This test fails, but not the next one.
            self._renew_or_give_up()
            raise
        finally:
            self._session_state.changed = False
            self.rewinds.append(time.perf_counter() - start)

    def _renew_or_give_up(self) -> None:
        """Clone the database afresh, or say why that cannot be: then there is none for the next test, either."""
        try:
            self.renew()
        except psycopg.Error as error:
            what = (
                "The database could not be cloned afresh in the middle of the run"
                if self.server.running()
                else "The server has ended in the middle of the run"
            )
            raise ServerError(
                f"{what} ({self.server.where}): {' '.join(str(error).split())}.",
                hint="make test-up, or: greenroom up",
            ) from None

    def start_application(self) -> dict[str, Any]:
        """Start the application up, unless it is up. Returns the state that its lifespan left.

        An application that writes to the database while it starts up is started for each test from then on: the rows
        are rewound after the first one. A lock that it takes meanwhile is its to keep.

        Raises:
            Exception: What it raised while it started up, with its own traceback.
        """
        assert self._clone is not None
        if self.application.up:
            return self.application.start()
        before = self._clone.touched()
        state = self.application.start()
        if self._clone.touched() != before and not self.starts_for_each_test:
            self.starts_for_each_test = True
            self._say(
                "the application writes to the database while it starts up, so it is started for each test"
            )
        self._clone.accept_locks()
        return state

    def renew(self) -> None:
        """Clone the database afresh under the same name. Pools that were connected to it connect anew."""
        if self._clone is not None:
            self.loop.dispose_engines(self.name)
            if self.application.up and self._clone.others():
                # A connection that the application keeps would be ended under its hands.
                self.application.stop()
            self._clone.renew()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[URL]:
        """An empty database of the application's role, for psycopg; dropped afterwards."""
        name = name_for(self.run_token, f"scratch_{secrets.token_hex(2)}")
        with Admin(self.server.admin) as admin:
            admin.hold(name)
            admin.create(name, "run", owner=self.config.role, checkout=checkout.identity(self.config.root))
            self._guard.names.add(name)
            try:
                yield self.sync_url.set(database=name)
            finally:
                self._guard.names.discard(name)
                admin.drop(name)

    # -- on the loop -------------------------------------------------------------------------------------------------

    def new_async_session(self) -> AsyncSession:
        """A session on the loop: the application's own kind, if the configuration names its factory."""
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        if self.config.session_factory is not None:
            session: AsyncSession = load(self.config, "session_factory")()
            return session
        if self._async_engine is None:
            self._async_engine = create_async_engine(self.app_url)
        # As applications commonly have it: their services return objects after a commit.
        return AsyncSession(self._async_engine, expire_on_commit=False)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; see `Loop.run`. Its queries count together."""
        with self.watch.scope(f"run({getattr(coroutine, '__name__', '…')})"):
            return self.loop.run(coroutine)

    # -- beginning and end -------------------------------------------------------------------------------------------

    def on_close(self, undo: Callable[[], Any]) -> None:
        """Have something undone at the end."""
        self._undo.callback(undo)

    def close(self) -> None:
        """Undo everything, in the opposite order, going on where a step fails."""
        with contextlib.ExitStack() as stack:
            stack.push(self._undo)
            stack.callback(self.server.stop)
            if self._clone is not None:
                stack.callback(self._clone.close)
            if self._engine is not None:
                stack.callback(self._engine.dispose)
            stack.callback(self.loop.close)
            stack.callback(self.application.stop)

    def _set_environment(self) -> None:
        self.on_close(partial(os.environ.update, forget_libpq_environment()))
        changes = environment(self.app_url, self.config.database_url, self.config.environment)
        if _told(self.config) is None:
            changes[_RUN] = json.dumps({
                "root": str(self.config.root),
                "process": os.getpid(),
                "kind": self.server.kind,
                "handle": self.server.handle,
                "run": self.run_token,
                "why": self.why,
            })  # fmt: skip
        for name, value in changes.items():
            self.on_close(partial(_restore, name, os.environ.get(name)))
            os.environ[name] = value
        self.on_close(self._guard.install())
        self.on_close(self._session_state.install())
        self.on_close(self.watch.install())

    def _before_connect(self, database: str) -> None:
        """Have the database before anything connects to it: a test may do so without asking for a fixture."""
        if database != self.name:
            return
        if not self.may_use_database:
            raise RefusedError(
                f"The test is marked {self.config.unit_marker!r}, so it has no database, but something connects to one.",
                hint="move the test to another folder, or take the marker away",
            )
        self.open()


_TOKENS: Final[list[str]] = []
"""Of the runs of this process that have ended. The next one takes it over: an application that is imported once knows the
database's name of the first run."""


def _restore(name: str, value: str | None) -> None:
    """Give an environment variable the value that it had, or none."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _told(config: Config) -> dict[str, Any] | None:
    """What the managing process of this run has chosen, if this process is a worker of it.

    Not so a pytest that a test starts, which finds the same environment: its parent is the worker.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or _RUN not in os.environ:
        return None
    told: dict[str, Any] = json.loads(os.environ[_RUN])
    return told if told["process"] == os.getppid() and told["root"] == str(config.root) else None
