"""What the watch stops where it happens, and what was found during a test until the test is told."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from greenroom.diagnosis.exceptions import chain
from greenroom.errors import GreenroomError


class Finding(GreenroomError):
    """Something that the watch stops where it happens, and that fails the test wherever that is. Its text is an explanation."""


class ForeignLoopError(Finding):
    """A pooled connection was asked for on another event loop than it was made on."""


class LazyLoadError(Finding):
    """The application read an attribute that was not loaded, and `lazy_loads = "fail"` forbids that."""


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
        found = [self._errors.popleft() for _ in range(len(self._errors))]
        known = {id(error) for error in chain(seen, expected=True)} if seen else set()
        return [error for error in found if id(error) not in known]


def _is_finding(information: Any) -> bool:
    """Whether what pytest shows (its `ExceptionInfo`) is one of these errors."""
    return isinstance(information.value, Finding)
