"""What the user calls an engine."""

from __future__ import annotations

import linecache
import re
import sys
from typing import Any

from greenroom.diagnosis.frames import is_users, place


def engine_name(wanted: Any) -> str:
    """An engine as a global variable of the user's own modules, and where that is set; empty if it is none.

    Args:
        wanted: The engine, a synchronous one as SQLAlchemy has it inside, or its pool.
    """
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not is_users(file):
            continue
        for variable, value in tuple(vars(module).items()):
            # The value's type is asked before the value: proxies and mocks wake up at less.
            if type(value).__name__ in {"AsyncEngine", "Engine"}:
                engine = getattr(value, "sync_engine", value)
                if engine is wanted or engine.pool is wanted:
                    return f"`{name}.{variable}`{_set_at(file, variable)}"
    return ""


def _set_at(file: str, variable: str) -> str:
    assignment = re.compile(rf"{re.escape(variable)}\s*(?::[^=]+)?=")
    for number, line in enumerate(linecache.getlines(file), start=1):
        if assignment.match(line):
            return f" ({place(file, number)})"
    return ""
