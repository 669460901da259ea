"""What runs now: the test, and what it asks of the watch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Current:
    """The current test, and the settings that hold for it: the configuration's, or its own markers'.

    Attributes:
        test: Its node ID; empty between tests.
        lazy_loads: `allow` or `fail`.
        n_plus_one: `off`, `warn` or `fail`.
    """

    test: str
    lazy_loads: str
    n_plus_one: str
