"""What was found during a test, until the test is told."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from greenroom.watch.errors import Finding


class Findings:
    """Errors that were raised somewhere in the application, on whatever thread, where the test may never see them.

    An application that answers each exception with a 500, or one that catches all of them, hides what was raised in it.
    """

    def __init__(self) -> None:
        self._errors: deque[Finding] = deque()

    def add(self, error: Finding) -> None:
        """Note an error that is about to be raised.

        The traceback that pytest prints of it ends at the user's own line: SQLAlchemy's part of it is long, and right.
        """
        for name, module in tuple(sys.modules.items()):
            if name.startswith("sqlalchemy."):
                vars(module).setdefault("__tracebackhide__", _is_finding)
        self._errors.append(error)

    def take(self, seen: BaseException | None = None) -> list[Finding]:
        """What was found since this was last asked.

        Args:
            seen: What the test itself has failed with. What that or its causes say is left out.
        """
        found = []
        while self._errors:
            found.append(self._errors.popleft())
        known = {id(error) for error in _chain(seen)}
        return [error for error in found if id(error) not in known]


def _is_finding(information: Any) -> bool:
    """Whether what pytest shows (its `ExceptionInfo`) is one of these errors."""
    return isinstance(information.value, Finding)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, its causes, contexts and members, also suppressed ones, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
