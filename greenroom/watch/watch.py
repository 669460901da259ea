"""The parts of the watch, and how they are switched on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from greenroom.watch.caught import Caught
from greenroom.watch.connection_holders import note_holders
from greenroom.watch.current import Current
from greenroom.watch.findings import Findings
from greenroom.watch.known import Known
from greenroom.watch.lazy_loads import stop_lazy_loads
from greenroom.watch.pool_guard import PoolGuard
from greenroom.watch.scopes import Scopes

if TYPE_CHECKING:
    from greenroom.config import Config


class Watch:
    """What watches the engines and sessions of this process.

    Attributes:
        current: The test that runs, and its settings.
        findings: What was raised and may not have reached the test.
        scopes: The queries of each request.
        caught: What the application raised and caught itself.
        known: The findings that fail no test.

    Args:
        config: The project.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._undo = contextlib.ExitStack()
        self._joined = False
        self.current = Current("", config.lazy_loads, config.n_plus_one)
        self.findings = Findings()
        self.scopes = Scopes(self.current, self._undo)
        self.caught = Caught()
        self.known = Known(config.root, config.known_findings)

    def install(self) -> Callable[[], None]:
        """Begin. Returns what ends it."""
        if self._config.pool_guard:
            PoolGuard(self.current, self.findings).install(self._undo)
            note_holders(self.current, self._undo)
        stop_lazy_loads(self.current, self.findings, self.known, self._undo)
        return self._undo.close

    def begin(self, test: str, *, clients: bool, lazy_loads: str | None, n_plus_one: str | None) -> None:
        """A test begins.

        Args:
            test: Its node ID.
            clients: It may use a `TestClient`. One that does not should not have to wait until that is imported.
            lazy_loads: What its marker says, if it has one.
            n_plus_one: What its marker says, if it has one.
        """
        self.current.test = test
        self.caught.forget()
        self.current.lazy_loads = lazy_loads or self._config.lazy_loads
        self.current.n_plus_one = n_plus_one or self._config.n_plus_one
        if self.current.n_plus_one != "off":
            self.scopes.begin_to_count()
        if not self._joined and (clients or "starlette.testclient" in sys.modules):
            self._joined = True
            self._join()

    def scope(self, name: str) -> AbstractContextManager[None]:
        """What is begun meanwhile belongs to one request or `run(…)`."""
        return self.scopes.scope(name)

    def _join(self) -> None:
        """Have each request of a `TestClient`, greenroom's or another, be a scope."""
        from greenroom.private.starlette import TestClient, patch

        stock: Any = TestClient.send

        def send(client: TestClient, request: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            socket = request.url.scheme in ("ws", "wss")
            name = f"{'WebSocket' if socket else request.method} {request.url.path}"
            # Each message of a WebSocket may be a request of its own.
            with self.scopes.scope(name, repeats=not socket):
                return stock(client, request, **options)

        self._undo.callback(patch(send=send))
        self._undo.callback(self.caught.join())
