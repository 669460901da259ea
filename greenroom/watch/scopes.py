"""The queries of one request, or of one `run(…)`.

A context variable carries the scope from the test's thread through the application's tasks and worker threads, so that
requests at the same time do not count for each other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Engine

from greenroom.diagnosis.frames import frames
from greenroom.watch.causes import cause_of
from greenroom.watch.current import listen
from greenroom.watch.queries import Query

if TYPE_CHECKING:
    from greenroom.watch.current import Current
    from greenroom.watch.queries import Queries

_TRANSACTIONS: Final = itertools.count(1)
_TRANSACTION_NUMBER: Final = "greenroom_transaction"
_TRANSACTION: Final = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO ")


@dataclass(slots=True)
class Scope:
    """A request or a `run(…)`.

    Attributes:
        name: Such as `GET /customers`.
        recorders: What wants to know its queries.
        queries: Its queries; None if nobody looks for those that repeat.
    """

    name: str
    recorders: tuple[Queries, ...]
    queries: list[Query] | None = field(default_factory=list)


_SCOPE: Final[ContextVar[Scope | None]] = ContextVar("greenroom_scope", default=None)


def in_application() -> bool:
    """Whether what runs now is the application's, in a request or in `run(…)`, and not the test's."""
    return _SCOPE.get() is not None


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Scopes:
    """Counts queries.

    Args:
        current: Knows whether the test looks for queries that repeat.
        undo: What ends the watching.
    """

    def __init__(self, current: Current, undo: ExitStack) -> None:
        self._current = current
        self._recorders: list[Queries] = []
        self._scopes: deque[Scope] = deque()
        self._undo = undo
        self._counting = False

    def begin_to_count(self) -> None:
        """Watch all engines of this process, from now on. Without that, scopes are there but nothing is counted."""
        if not self._counting:
            listen(Engine, "begin", _number, self._undo)
            listen(Engine, "before_cursor_execute", self._look, self._undo)
            self._counting = True

    @contextmanager
    def scope(self, name: str, *, repeats: bool = True) -> Iterator[None]:
        """What is begun meanwhile belongs to one request or `run(…)`, also what of it goes on later.

        Args:
            name: Such as `GET /customers`.
            repeats: Look for queries that repeat, if the test does.
        """
        scope = Scope(name, tuple(self._recorders))
        if self._current.n_plus_one == "off" or not repeats:
            scope.queries = None
        else:
            self._scopes.append(scope)
        token = _SCOPE.set(scope)
        try:
            yield
        finally:
            _SCOPE.reset(token)

    @contextmanager
    def recorded(self, queries: Queries) -> Iterator[Queries]:
        """Add the queries of all requests that are begun meanwhile."""
        self.begin_to_count()
        self._recorders.append(queries)
        # In an asynchronous test, what the block awaits counts, as `run(…)` does in a synchronous one.
        own = self.scope("the block of queries()") if _on_a_loop() else nullcontext()
        try:
            with own:
                yield queries
        finally:
            self._recorders.remove(queries)

    def take(self) -> list[Scope]:
        """The scopes in which queries were counted since this was last asked."""
        return [self._scopes.popleft() for _ in range(len(self._scopes))]

    def _look(
        self, connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        scope = _SCOPE.get()
        if scope is None or not (scope.recorders or scope.queries is not None):
            return
        # The test's own, read in a coroutine of the test's.
        if connection.engine is self._current.engine:
            return
        if statement.startswith(_TRANSACTION):
            return
        # Each row in a savepoint of its own is meant: one that fails leaves the others.
        single = not many and not connection.in_nested_transaction()
        transaction = connection.info.get(_TRANSACTION_NUMBER) if single else None
        query = Query(statement, parameters, cause_of(frames()), transaction)
        for recorder in scope.recorders:
            recorder.add(query)
        if scope.queries is not None:
            scope.queries.append(query)


def _number(connection: Any) -> None:
    """A transaction begins."""
    connection.info[_TRANSACTION_NUMBER] = next(_TRANSACTIONS)
