"""The engines of the process: which of them may have connections to a database."""

from __future__ import annotations

import gc
import weakref
from contextlib import ExitStack
from typing import Any, TypeVar

from sqlalchemy import Engine, Pool, event

from greenroom.private.sqlalchemy import pool_of

T = TypeVar("T")


class Engines:
    """The engines that have connected.

    SQLAlchemy tells of pools that connect, and not of engines that are made. So the engines are looked for among all objects of
    the process, which takes a tenth of a second, but only when a pool has connected that is none of the known engines'.
    """

    def __init__(self) -> None:
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
        if not {*self._pools} <= {engine.pool for engine in self._known}:
            self._known.update(instances(Engine))
            # Those of engines that are gone, or that have another pool by now.
            self._pools = weakref.WeakSet({engine.pool for engine in self._known} & {*self._pools})
        return list(self._known)

    def _note(self, _connection: Any, record: Any) -> None:
        self._pools.add(pool_of(record))


def instances(kind: type[T]) -> list[T]:
    """All objects of a type or its subtypes. By type(), since isinstance() wakes up proxies and mocks."""
    return [found for found in gc.get_objects() if issubclass(type(found), kind)]
