"""All that one process of a test run has: its server, its database, its loop, its application.

    config ─► server ─► template ─► worker database ─► one loop ─► test ─► rewind

Nothing is started before a test needs it. What the application must know when it is imported, the URL of its database,
is known before: the names are chosen first, and the things made under them later.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sqlalchemy import URL, Engine, create_engine

from greenroom import servers
from greenroom.application import Application, load
from greenroom.connection import CONNECT
from greenroom.database.suite import SuiteDatabases
from greenroom.database.worker import WorkerDatabase
from greenroom.errors import ConfigError, HangError, RefusedError
from greenroom.guard import Guard
from greenroom.handover import Handover
from greenroom.loop import Loop
from greenroom.servers.base import Server, kinds
from greenroom.session_class import session_class
from greenroom.urls import asynchronous, for_driver, forget_libpq_environment, of_database
from greenroom.watch.session_state import SessionState
from greenroom.watch.watch import Watch

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from greenroom.config import Config
    from greenroom.database.rewind.rewinder import Rewinder
    from greenroom.output import Say

T = TypeVar("T")


class Worker:
    """One process of a run: a worker of pytest-xdist, or the only one. Use `begin`.

    Attributes:
        database: Its database: the main one, if the configuration names more.
        databases: All of them, by name; the main one's is empty.
        suite_databases: Those that the suite makes itself.
        loop: The event loop of the application.
        application: The application.
        watch: What is noticed while the tests run.
        may_use_database: The current test is not marked as one that has none.
        parallel: It is a worker of pytest-xdist.
        starts_for_each_test: The application is started up for each test, and not once.

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
        self.may_use_database = True
        self.parallel = False
        self.starts_for_each_test = config.lifespan == "test"
        self.loop = Loop(config.timeout)
        self.application = Application(config, self.loop)
        self.watch = Watch(config)
        self.databases = {
            each.name: WorkerDatabase(
                each, server, run=run, worker=of_database(worker, each.name), disconnect=self.loop.dispose_engines,
                evict=self._evict, say=say,
            )
            for each in (config, *config.databases.values())
        }  # fmt: skip
        self.database = self.databases[""]
        self._say = say
        self._engines: dict[tuple[str, str], Engine] = {}
        self._async_engine: AsyncEngine | None = None
        self.suite_databases = SuiteDatabases(config, server, self.database)
        self._guard = Guard(
            (server.admin, self.database.url),
            names={each.name for each in self.databases.values()},
            others=config.other_databases,
            variable=config.database_url,
            before=self._before_connect,
            suites=self._suite_database,
            own=self.database.url,
            roles=config.all_roles,
        )
        self._session_state = SessionState()
        self._undo = contextlib.ExitStack()

    @classmethod
    def begin(cls, config: Config, say: Say) -> Self:
        """Choose the server and the names, and set the application's environment. Starts nothing.

        Raises:
            ServerError: There is no server.
        """
        told = Handover.received(config.root)
        if told is not None:
            kind = kinds()[told.kind]
            assert issubclass(kind, Server)  # the managing process has chosen it
            server = kind.join(config, told.handle)
            name = os.environ["PYTEST_XDIST_WORKER"]
            worker = cls(config, server, why=told.why, run=told.run, worker=name, say=say)
            worker.parallel = True
            worker._install({})
            return worker
        chosen, why = servers.choose(config, Server)
        run = _TOKENS.pop() if _TOKENS else secrets.token_hex(4)
        server = chosen.for_run(config, say)
        worker = cls(config, server, why=why, run=run, worker="main", say=say)
        worker.on_close(partial(_TOKENS.append, run))
        root = str(config.root)
        worker._install(Handover(root, os.getpid(), server.kind, server.handle, run, why).variables())
        return worker

    def open_ahead(self) -> None:
        """Open the databases while this process imports the application and the tests, where that takes no more than clones."""
        for database in self.databases.values():
            database.open_ahead()

    @property
    def engine(self) -> Engine:
        """A synchronous engine to the database, as the application's role."""
        self.watch.current.engine = engine = self.engine_for(self.config.role)
        return engine

    def engine_for(self, role: str, *, database: str = "") -> Engine:
        """A synchronous engine to a database as one of the roles that the configuration names.

        Args:
            role: The role.
            database: The database's name in the configuration; by default the main one.

        Raises:
            ConfigError: It names no such role, or no such database.
        """
        if database not in self.databases:
            raise ConfigError(
                f"The configuration names no database {database!r}. Found: {', '.join(self.config.databases) or 'none'}.",
                hint=f"[tool.greenroom.databases.{database}] in pyproject.toml",
            )
        if role not in self.config.all_roles:
            raise ConfigError(
                f"The configuration names no role {role!r}. The roles are: {', '.join(self.config.all_roles)}.",
                hint=f'roles = ["{role}"] in [tool.greenroom]',
            )
        if (database, role) not in self._engines:
            url = self.databases[database].role_url(role)
            engine = create_engine(url, connect_args={"connect_timeout": CONNECT})
            self._engines[database, role] = engine
            self.loop.engines.add(engine)
        return self._engines[database, role]

    def new_async_session(self) -> AsyncSession:
        """A session on the loop: from the factory that the configuration names, or of the project's own class."""
        from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

        if self.config.session_factory is not None:
            session: AsyncSession = load(self.config, "session_factory")()
            return session
        if self._async_engine is None:
            self._async_engine = create_async_engine(
                for_driver(self.database.url, asynchronous(self.config.driver))
            )
        # As applications commonly have it: their services return objects after a commit.
        return session_class(AsyncSession, self.config.root)(self._async_engine, expire_on_commit=False)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[URL]:
        """An empty database, which the test may connect to; dropped afterwards."""
        with self.database.scratch() as url:
            assert url.database is not None
            self._guard.names.add(url.database)
            try:
                yield url
            finally:
                self._guard.names.discard(url.database)

    def run(self, awaitable: Awaitable[T]) -> T:
        """Run a coroutine on the loop and wait for it; see `Loop.run`. Its queries count together."""
        with self.watch.scope(f"run({getattr(awaitable, '__name__', '…')})"):
            return self.loop.run(awaitable)

    def rewind(self) -> None:
        """Bring the databases back to their templates' state after a test; see `WorkerDatabase.rewind`."""
        stale, self._session_state.changed = self._session_state.changed, False
        with contextlib.ExitStack() as stack:
            # Each, also where another one fails.
            for each in reversed(self.databases.values()):
                stack.callback(each.rewind, stale=stale)

    @property
    def rewinders(self) -> dict[str, Rewinder]:
        """What rewinds the databases that there are by now, by name."""
        return {name: each.rewinder for name, each in self.databases.items() if each.is_open}

    def start_application(self) -> dict[str, Any]:
        """Start the application up, unless it is up. Returns the state that its lifespan left.

        An application that writes to the database while it starts up is started for each test from then on: the rows
        are rewound after the first one. A lock that it takes meanwhile is its to keep.

        Raises:
            Exception: What it raised while it started up, with its own traceback.
        """
        if self.application.up:
            return self.application.start()
        for database in self.databases.values():
            database.open()
        rewinders = self.rewinders.values()
        before = [each.touched() for each in rewinders]
        state = self.application.start()
        if [each.touched() for each in rewinders] != before and not self.starts_for_each_test:
            self.starts_for_each_test = True
            self._say(
                "the application writes to the database while it starts up, so it is started for each test"
            )
        for each in rewinders:
            each.accept_locks()
        return state

    def elsewhere(self) -> list[str]:
        """For each database other than PostgreSQL that was connected to: a sentence, and what to look at."""
        variable = self.config.database_url
        now = os.environ.get(variable, "")
        changed = (
            f" Something has set {variable} to {now.partition(':')[0]}:…"
            if now and not now.startswith("postgres")
            else ""
        )
        return [
            f"These queries went to {name}, and not to this run's Postgres ({line or 'no line of the project'})."
            f"{changed or f' The application should take its URL from {variable}.'} "
            f"If it is meant to be used: other_databases in [tool.greenroom]."
            for name, line in self._guard.elsewhere.items()
        ]

    def _evict(self) -> None:
        """Shut the application down, which keeps a connection to a database that is to be made afresh."""
        self.application.stop(
            f"{self.watch.current.test} changed the schema or asked for a fresh database, and the application kept a connection to the old one"
        )

    def notes(self) -> list[str]:
        """What the user should know at the end about the databases that were connected to, a sentence each."""
        own = [
            f"{name} is the suite's own database ({how}); it is not rewound"
            for name, how in self.suite_databases.ever.items()
        ]
        led = [
            f"connections to {where} were led to this run's server ({line or 'no line of the project'})"
            for where, line in self._guard.led.items()
        ]
        return [*self.elsewhere(), *led, *own]

    # -- beginning and end -------------------------------------------------------------------------------------------

    def on_close(self, undo: Callable[[], Any]) -> None:
        """Register a function that undoes something at the end."""
        self._undo.callback(undo)

    def close(self) -> None:
        """Undo everything, in the opposite order, going on where a step fails."""
        with contextlib.ExitStack() as stack:
            stack.push(self._undo)
            stack.callback(self.server.stop)
            for database in self.databases.values():
                stack.callback(database.close)
            stack.callback(self.suite_databases.close)
            for engine in self._engines.values():
                stack.callback(engine.dispose)
            stack.callback(self._close_loop)
            stack.callback(self.application.stop)

    def _close_loop(self) -> None:
        try:
            self.loop.close()
        except HangError as error:
            self._say(str(error))

    def _install(self, variables: dict[str, str]) -> None:
        """Set the environment, and begin to watch; both until `close`."""
        self.on_close(partial(os.environ.update, forget_libpq_environment()))
        own = self.config.environment_for(self.database.url)
        for name, value in (own | variables).items():
            self.on_close(partial(_restore, name, os.environ.get(name)))
            os.environ[name] = value
        self.on_close(self._guard.install())
        self.loop.engines.watch(self._undo)
        self.on_close(self.suite_databases.install())
        self.on_close(self._session_state.install())
        self.on_close(self.watch.install())

    def _suite_database(self, name: str) -> str | None:
        self._check_marker()
        return self.suite_databases.connected(name)

    def _before_connect(self, database: str) -> None:
        """Make the database before anything connects to it: a test may connect without asking for a fixture."""
        self._check_marker()
        for each in self.databases.values():
            if each.name == database:
                each.open()

    def _check_marker(self) -> None:
        if not self.may_use_database:
            raise RefusedError(
                f"The test is marked {self.config.unit_marker!r}, so it has no database, but something connects to one.",
                hint="move the test to another folder, or remove the marker",
            )


_TOKENS: Final[list[str]] = []
"""Of the runs of this process that have ended. The next one takes it over: an application that is imported once knows the
database's name of the first run."""


def _restore(name: str, value: str | None) -> None:
    """Give an environment variable the value that it had, or none."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
