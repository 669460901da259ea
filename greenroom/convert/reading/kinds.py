"""The kinds of objects whose asynchronous methods have synchronous counterparts: clients, their streams, sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        name: What it is called in messages.
        awaited: Its methods that are awaited, with their synchronous names.
        entered: Those that return an asynchronous context manager.
        iterated: Those that return something to iterate over asynchronously.
        forbidden: Its attributes that a synchronous one does not have.
    """

    name: str
    awaited: dict[str, str]
    entered: frozenset[str] = frozenset()
    iterated: dict[str, str] = field(default_factory=dict)
    forbidden: frozenset[str] = frozenset()

    @property
    def asynchronous(self) -> set[str]:
        """The methods that differ."""
        return {*self.awaited, *self.entered, *self.iterated, *self.forbidden}


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


CLIENT: Final = Kind(
    "client",
    _same("get", "post", "put", "patch", "delete", "options", "head", "request", "send")
    | {"aclose": "close"},
    entered=frozenset({"stream"}),
    forbidden=frozenset({"_transport", "_mounts", "event_hooks", "auth", "__aenter__", "__aexit__"}),
)

STREAM: Final = Kind(
    "response",
    {"aread": "read", "aclose": "close"},
    iterated={f"a{name}": name for name in ("iter_lines", "iter_text", "iter_bytes", "iter_raw")},
)

SESSION: Final = Kind(
    "session",
    _same(
        "execute", "scalar", "scalars", "get", "get_one", "commit", "flush", "refresh", "rollback", "delete", "merge", "close",
        "invalidate", "run_sync", "begin", "begin_nested",
    )
    | {"aclose": "close"},
    entered=frozenset({"begin", "begin_nested"}),
    iterated={"stream": "execute", "stream_scalars": "scalars"},
    forbidden=frozenset({"sync_session", "connection", "bind", "binds", "get_bind", "reset", "__aenter__", "__aexit__"}),
)  # fmt: skip

TRANSACTION: Final = Kind(
    "transaction", _same("commit", "rollback", "close"), forbidden=frozenset({"start", "sync_transaction"})
)

KINDS: Final = {kind.name: kind for kind in (CLIENT, STREAM, SESSION, TRANSACTION)}

DERIVED: Final = {
    "stream": (CLIENT, STREAM), "begin": (SESSION, TRANSACTION), "begin_nested": (SESSION, TRANSACTION)
}  # fmt: skip
"""The methods that make an object of another kind, which is synchronous exactly if the first one is."""
