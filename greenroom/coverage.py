"""A plugin of coverage that chooses the quickest core which is exact for an asynchronous application: `plugins = ["greenroom.coverage"]`.

SQLAlchemy runs an asynchronous driver in greenlets. The C tracer loses what runs there unless it is told of greenlets, which makes it
slow. `sys.monitoring` does not care which greenlet runs, but measures branches from Python 3.14 on only. What holds for which
Python is measured by `python -m benchmarks.cores`, and shown by tests/greenroom/test_coverage.py.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from coverage import CoveragePlugin
from coverage.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coverage.plugin_support import Plugins
    from coverage.types import TConfigurable

NAME: Final = "greenroom.coverage"
"""As the plugin is named in `plugins`."""

_LINES: Final = (3, 12)
"""The first Python with `sys.monitoring`."""

_BRANCHES: Final = (3, 14)
"""The first Python whose `sys.monitoring` tells which way a branch goes."""

_MONITORED: Final = frozenset(["greenlet", "thread", "multiprocessing"])
"""Kinds of concurrency under which `sysmon` is exact. Coverage refuses it for gevent and eventlet."""


def core(*, branch: bool, version: tuple[int, int] = sys.version_info[:2]) -> str:
    """The quickest core that is exact for code in greenlets.

    Args:
        branch: Branches are measured, too.
        version: The version of Python.
    """
    return "sysmon" if version >= (_BRANCHES if branch else _LINES) else "ctrace"


def exact(settings: Mapping[str, Any], *, version: tuple[int, int] = sys.version_info[:2]) -> bool:
    """Whether coverage counts code in greenlets with these settings.

    Args:
        settings: `[tool.coverage.run]`.
        version: The version of Python.
    """
    if NAME in settings.get("plugins", []):
        return True
    concurrency = settings.get("concurrency", ["thread"])
    followed = {concurrency} if isinstance(concurrency, str) else set(concurrency)
    if {"greenlet", "thread"} <= followed:
        return True
    usable = core(branch=bool(settings.get("branch")), version=version) == "sysmon"
    default = "sysmon" if version >= _BRANCHES else "ctrace"
    named = settings.get("core") or os.environ.get("COVERAGE_CORE") or default
    plain = followed <= _MONITORED - {"greenlet"} and not settings.get("dynamic_context")
    return named == "sysmon" and usable and plain


class Core(CoveragePlugin):
    """Sets `core` and `concurrency`. A core that the project or COVERAGE_CORE names is kept, with the concurrency that it needs."""

    def configure(self, config: TConfigurable) -> None:
        """Choose for the Python that runs and for what is measured.

        Args:
            config: Coverage's configuration.
        """
        given = config.get_option("run:concurrency")
        others = set(given if isinstance(given, list) else []) - {"greenlet", "thread"}
        chosen = self._core(config, plain=others <= _MONITORED)
        needed = {"thread"} if chosen == "sysmon" else {"greenlet", "thread"}
        config.set_option("run:concurrency", sorted(others | needed))

    def _core(self, config: TConfigurable, *, plain: bool) -> str:
        try:
            named = config.get_option("run:core")
        except ConfigError:
            return "ctrace"  # before 7.9 it cannot be set, and this is the default
        if given := named or os.environ.get("COVERAGE_CORE"):
            return str(given)
        # `sys.monitoring` tells of each line once, and not again in the context of the next test.
        plain = plain and not config.get_option("run:dynamic_context")
        chosen = core(branch=bool(config.get_option("run:branch"))) if plain else "ctrace"
        config.set_option("run:core", chosen)
        return chosen


def coverage_init(registry: Plugins, _options: dict[str, Any]) -> None:
    """What coverage calls for `plugins = ["greenroom.coverage"]`.

    Args:
        registry: Takes plugins.
    """
    registry.add_configurer(Core())
