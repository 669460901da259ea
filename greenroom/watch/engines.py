"""What the user calls an engine."""

from __future__ import annotations

import linecache
import re
import sys
from typing import Any

from greenroom.watch.frames import Line, is_users


def name_of_engine(pool: Any) -> str:
    """The engine of a pool as a global variable of the user's own modules, and where that is set; empty if it is none."""
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not is_users(file):
            continue
        # The value's type is asked before the value: proxies and mocks wake up at less.
        for variable, value in tuple(vars(module).items()):
            if type(value).__name__ in {"AsyncEngine", "Engine"} and getattr(value, "pool", None) is pool:
                return f"`{name}.{variable}`{_set_at(file, variable)}"
    return ""


def _set_at(file: str, variable: str) -> str:
    assignment = re.compile(rf"{re.escape(variable)}\s*(?::[^=]+)?=")
    for number, line in enumerate(linecache.getlines(file), start=1):
        if assignment.match(line):
            return f" ({Line(file, number, '').where})"
    return ""
