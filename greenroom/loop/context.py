"""Context variables, carried between the main thread and the tasks of asynchronous tests and fixtures.

A synchronous fixture sets them in the main thread, an asynchronous one in its task: what one of them sets, the others and
the test see, as they would if all of them were synchronous. They are put back at the end of what set them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextvars import Context, ContextVar, Token
from typing import Any, Final

_OWN: Final = ("greenroom_", "sniffio", "current_async_library")
"""How the variables begin that say what runs now, and so differ between the two sides."""

_MISSING: Final = object()


class Carried:
    """The variables of the main thread that a test or a fixture has changed there, from within its tasks."""

    def __init__(self) -> None:
        self._tokens: list[tuple[ContextVar[Any], Token[Any]]] = []

    def into_main(self, task: Context) -> None:
        """Give the main thread, which calls this, what a task has changed."""
        for token in [each for each in self._tokens if each[0] not in task]:
            self._tokens.remove(token)
            _reset(*token)
        self._tokens += carry(task)

    def put_back(self) -> None:
        """Give the main thread the values that it had."""
        while self._tokens:
            _reset(*self._tokens.pop())


def carry(source: Context) -> list[tuple[ContextVar[Any], Token[Any]]]:
    """Give the current context the values of another one. Returns what was changed."""
    return [
        (variable, variable.set(value))
        for variable, value in source.items()
        if not variable.name.startswith(_OWN) and variable.get(_MISSING) is not value
    ]


def carrier(source: Context, target: Context) -> Callable[[], object]:
    """What gives one context the values of another, to be called on the loop, where `target` is used."""
    return lambda: target.run(carry, source)


def _reset(variable: ContextVar[Any], token: Token[Any]) -> None:
    # Another context than the one it was set in: something has run the hooks of pytest in one of its own.
    with contextlib.suppress(ValueError):
        variable.reset(token)
