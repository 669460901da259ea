"""The database sessions that fixtures of wider scope keep open: rolled back after each test, and never ended."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from greenroom.errors import HangError
from greenroom.private.sqlalchemy import front_of, has_front, sessions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from greenroom.database.rewind.rewinder import Rewinder


class WiderSessions:
    """Those of one process.

    A transaction that was left open with something written is its fixture's to keep: an outer transaction, as some suites
    have it. All others are rolled back after each test.

    Args:
        run: Runs a coroutine on the loop, where asynchronous fixtures are on it; None where their sessions may be on another.
    """

    def __init__(self, run: Callable[[Awaitable[Any]], Any] | None) -> None:
        self._run = run
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._held: dict[int, set[int]] = {}

    @contextlib.contextmanager
    def noticing(self, depth: int, rewinders: Callable[[], Collection[Rewinder]]) -> Iterator[None]:
        """Notice the sessions that are made in the block, in which a fixture is set up.

        Args:
            depth: Of the fixture's scope.
            rewinders: Gives what rewinds the databases that there are.
        """
        before = weakref.WeakSet(sessions())
        # Those of a test in whose middle the fixture is set up are no fixture's.
        others = _in_transaction(rewinders())
        yield
        if not rewinders():
            return
        in_transaction = _in_transaction(rewinders()) - others
        for session in sessions():
            if session in before:
                continue
            pid = None
            if session.in_transaction() and (self._run is not None or not has_front(session)):
                pid, has_written = self._backend(session)
                if has_written:
                    continue
            in_transaction.discard(pid)
            self._sessions.add(session)
        held = in_transaction.difference(*self._held.values())
        if held:
            self._held.setdefault(depth, set()).update(held)
            self._accept(rewinders())

    def roll_back(self) -> None:
        """End the transactions that a test has begun in them."""
        for session in list(self._sessions):
            if not session.in_transaction():
                continue
            if has_front(session):
                self._roll_back_on_the_loop(session)
            else:
                try:
                    session.rollback()
                except SQLAlchemyError:
                    # Its connection is lost. What it holds is nothing that the next test could use.
                    session.close()

    def _roll_back_on_the_loop(self, session: Session) -> None:
        front = front_of(session) if self._run is not None else None
        if front is None or self._run is None:
            return
        try:
            self._run(front.rollback())
        except (SQLAlchemyError, HangError):
            with contextlib.suppress(SQLAlchemyError, HangError):
                self._run(front.close())

    def _backend(self, session: Session) -> tuple[int | None, bool]:
        front = front_of(session) if has_front(session) else None
        if front is None or self._run is None:
            return _backend(session)
        try:
            found: tuple[int | None, bool] = self._run(front.run_sync(_backend))
        except (RuntimeError, HangError):  # it is another loop's
            return None, True
        return found

    def forget(self, depth: int, rewinders: Collection[Rewinder]) -> None:
        """No longer take for granted the transactions of the scopes from a depth downwards."""
        ended = [each for each in self._held if each >= depth]
        for each in ended:
            del self._held[each]
        if ended:
            self._accept(rewinders)

    def _accept(self, rewinders: Collection[Rewinder]) -> None:
        for each in rewinders:
            each.accept_transactions(set().union(*self._held.values()))


def _in_transaction(rewinders: Collection[Rewinder]) -> set[int]:
    return set().union(*(each.in_transaction() for each in rewinders))


def _backend(session: Session) -> tuple[int | None, bool]:
    """The pid of a session's connection, and whether its transaction has written anything."""
    try:
        pid, xid = session.execute(text("SELECT pg_backend_pid(), txid_current_if_assigned()")).one()
    except SQLAlchemyError:  # another database, or several
        return None, True
    return pid, xid is not None
