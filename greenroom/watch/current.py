"""What runs now: the test, and what it asks of the watch. And how the parts of the watch listen to SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event


@dataclass(slots=True)
class Current:
    """The current test, and the settings that hold for it: the configuration's, or its own markers'.

    Attributes:
        test: Its node ID; empty between tests.
        lazy_loads: `allow` or `fail`.
        n_plus_one: `off`, `warn` or `fail`.
        engine: The tests' own synchronous engine, wherever it is used; None until it is made.
    """

    test: str
    lazy_loads: str
    n_plus_one: str
    engine: Any = field(default=None)


def listen(target: Any, name: str, listener: Callable[..., Any], undo: ExitStack) -> None:
    """Listen to an event of all pools, engines or sessions, until this is undone."""
    event.listen(target, name, listener)
    undo.callback(event.remove, target, name, listener)
