"""What runs now: the test, and what it asks of the watch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
