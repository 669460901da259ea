"""The engines of the process: which of them may have connections to a database."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import ExitStack
from typing import Any, TypeVar

from sqlalchemy import Engine, Pool, event

from greenroom.private.sqlalchemy import engines_with_front, pool_of

T = TypeVar("T")


class Engines:
    """The engines that have connected.

    SQLAlchemy tells of pools that connect, and keeps the engines of asynchronous ones. Others are looked for among all objects of
    the process, which takes a tenth of a second, but only when a pool has connected that is none of the known engines'.
    """

    def __init__(self) -> None:
        # Pools connect in whatever thread uses them, also while they are looked at.
        self._lock = threading.Lock()
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        self._known: weakref.WeakSet[Engine] = weakref.WeakSet()

    def watch(self, undo: ExitStack) -> None:
        """Notice from now on which pools connect.

        Args:
            undo: Ends it.
        """
        event.listen(Pool, "connect", self._note)
        undo.callback(event.remove, Pool, "connect", self._note)

    def connected(self) -> list[Engine]:
        """The engines that have connected since, and maybe others."""
        with self._lock:
            pools = {*self._pools}
        if not self._are_known(pools):
            self._known.update(engines_with_front())
            if not self._are_known(pools):
                self._known.update(instances(Engine))
            # Those of engines that are gone, or that have another pool by now.
            with self._lock:
                self._pools.difference_update(pools - {engine.pool for engine in self._known})
        return list(self._known)

    def add(self, engine: Engine) -> None:
        """Make one known."""
        self._known.add(engine)

    def _are_known(self, pools: set[Pool]) -> bool:
        return pools <= {engine.pool for engine in self._known}

    def _note(self, _connection: Any, record: Any) -> None:
        with self._lock:
            self._pools.add(pool_of(record))


def instances(kind: type[T]) -> list[T]:
    """All objects of a type or its subtypes. By type(), since isinstance() wakes up proxies and mocks."""
    kinds = _with_subtypes(kind)
    try:
        # A search in a set is quicker than issubclass(), and there are hundreds of thousands of objects.
        return [found for found in gc.get_objects() if type(found) in kinds]
    except TypeError:  # a metaclass has taken the hash from its classes
        return [found for found in gc.get_objects() if issubclass(type(found), kind)]


def _with_subtypes(kind: type[T]) -> set[type[T]]:
    found = {kind}
    for each in type.__subclasses__(kind):
        found |= _with_subtypes(each)
    return found
