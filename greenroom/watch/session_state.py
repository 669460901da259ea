"""Connections that a test has left in another state than it found them: listening, or with other settings.

A pool gives such a connection to the next test. The server tells nobody but the connection itself what it listens to or what
it has set, so the statements are watched instead. SQLAlchemy's are; what is sent straight with a driver is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Engine, event

_LASTING: Final = re.compile(
    r"\s*(?:LISTEN\b"
    r"|SET\s+(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)"
    r"|PREPARE\s+(?!TRANSACTION\b)"
    r"|DECLARE\b.*\bWITH\s+HOLD\b"
    r"|LOAD\b"
    r"|SELECT\s+(?:pg_catalog\s*\.\s*)?set_config\s*\([^()]*,\s*(?:false|'f(?:alse)?'|'off'|'0')\s*\))",
    re.IGNORECASE | re.DOTALL,
)
"""What stays with a connection after its transaction. What an application sets when it connects is no statement of an engine's."""

_FIRST: Final = frozenset("lLsSpPdD \n\t")


class SessionState:
    """Notes whether a statement has changed its connection for longer than its transaction.

    Attributes:
        changed: It has, since this was last set to False.
    """

    def __init__(self) -> None:
        self.changed = False

    def install(self) -> Callable[[], None]:
        """Watch all engines of this process. Returns what ends that."""
        event.listen(Engine, "before_cursor_execute", self._look)
        return lambda: event.remove(Engine, "before_cursor_execute", self._look)

    def _look(
        self, _connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        # The first character settles it for nearly all that are no SELECT, without a regular expression.
        if not self.changed and statement[:1] in _FIRST and _LASTING.match(statement):
            self.changed = True
