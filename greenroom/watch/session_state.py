"""Connections that a test has left in another state than it found them: listening, or with other settings.

A pool gives such a connection to the next test. The server tells nobody but the connection itself what it listens to or what
it has set, so the statements are watched instead: those of SQLAlchemy's engines. A driver's own connection, which code may ask a
pool's connection for (asyncpg's `add_listener`), counts as changed. What a function of the database sets is not seen.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Engine, event

from greenroom.private.sqlalchemy import ConnectionFairy

_BLANK: Final = r"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*"

# What an application sets when it connects is no statement of an engine's, so taking that back is a change, too. What is inside
# a DO is not looked into: it is rare, and to connect anew costs a moment only.
_LASTING: Final = (
    rf"{_BLANK}(?:(?:UN)?LISTEN\b|RESET\b|DISCARD\b|LOAD\b|DO\b"
    rf"|SET\s+(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)"
    rf"|PREPARE\s+(?!TRANSACTION\b)"
    rf"|DECLARE\b[^;]*\bWITH\s+HOLD\b)"
)
_FLAGS: Final = re.IGNORECASE | re.DOTALL
_FIRST_STATEMENT: Final = re.compile(_LASTING, _FLAGS)
_LATER_STATEMENT: Final = re.compile(f";{_LASTING}", _FLAGS)
"""What stays with a connection after its transaction."""

_OTHERS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "BEGIN", "COMMIT")
"""How nearly all others begin, in the letters that SQLAlchemy writes."""

_CALL: Final = re.compile(r"\bset_config\s*\(", re.IGNORECASE)
_LOCAL_CALL: Final = re.compile(
    r"\bset_config\s*\([^()]*,\s*(?:true|'t(?:rue)?'|'on'|'1')(?:\s*::\s*bool(?:ean)?)?\s*\)", re.IGNORECASE
)
"""A call whose last argument says that the setting ends with the transaction."""


class SessionState:
    """Notes whether anything has changed its connection for longer than its transaction.

    Attributes:
        changed: It has, since this was last set to False.
    """

    def __init__(self) -> None:
        self.changed = False

    def install(self) -> Callable[[], None]:
        """Watch all engines and pools of this process. Returns what ends that."""
        event.listen(Engine, "before_cursor_execute", self._look)
        stock: Any = ConnectionFairy.driver_connection

        def driver_connection(connection: Any) -> Any:
            # SQLAlchemy itself asks for it when an engine connects for the first time, and changes nothing.
            if not sys._getframe(1).f_globals.get("__name__", "").startswith("sqlalchemy."):  # noqa: SLF001
                self.changed = True
            return stock.fget(connection)

        ConnectionFairy.driver_connection = property(  # type: ignore[method-assign,assignment]
            driver_connection, doc=stock.__doc__
        )

        def undo() -> None:
            event.remove(Engine, "before_cursor_execute", self._look)
            ConnectionFairy.driver_connection = stock  # type: ignore[method-assign]

        return undo

    def _look(
        self, _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
    ) -> None:
        # Searching for a constant takes next to nothing; only what has one is looked at with a regular expression.
        if not self.changed and (
            (not statement.startswith(_OTHERS) and _FIRST_STATEMENT.match(statement))
            or (";" in statement and _LATER_STATEMENT.search(statement))
            or (("set_config" in statement or "SET_CONFIG" in statement) and _lasts(statement, parameters))
        ):
            self.changed = True


def _lasts(statement: str, parameters: Any) -> bool:
    """Whether a call of `set_config` may set something for longer than its transaction."""
    if len(_CALL.findall(statement)) == len(_LOCAL_CALL.findall(statement)):
        return False
    values = parameters.values() if isinstance(parameters, dict) else parameters
    # One that is bound is a boolean; where none is, nobody has said that it is local.
    return {value for value in values if isinstance(value, bool)} != {True}
