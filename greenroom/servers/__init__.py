"""Where a Postgres comes from. Each kind of server is one module of this folder; adding a file adds a kind."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from greenroom.errors import ConfigError, ServerError
from greenroom.servers.base import Server, kinds
from greenroom.servers.instance import program

if TYPE_CHECKING:
    from greenroom.config import Config

__all__ = ["Server", "choose", "program"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def choose(config: Config) -> tuple[type[Server], str]:
    """The kind of server for a project, and why it was chosen.

    Args:
        config: Its `engine` names a kind, or is `auto` for the first kind that can be had here.

    Raises:
        ConfigError: No kind has that name.
        ServerError: The kind asked for cannot be had here, or none can.
    """
    if config.engine != "auto":
        kind = kinds().get(config.engine)
        if kind is None:
            names = ", ".join(["auto", *sorted(kinds())])
            raise ConfigError(
                f"The engine must be one of {names}. Found: {config.engine!r}.", hint="ENGINE=auto"
            )
        if reason := kind.why_not(config):
            raise ServerError(f"Engine {config.engine} was asked for, but {reason}.", hint=kind.remedy)
        return kind, "asked for"
    passed: list[str] = []
    for kind in sorted(kinds().values(), key=lambda kind: kind.preference):
        reason = kind.why_not(config)
        if reason is None:
            return kind, "; ".join(passed) or "first choice"
        passed.append(f"{kind.kind}: {reason}")
    raise ServerError(
        f"No Postgres can be had here ({'; '.join(passed)}).", hint="pip install 'greenroom[embedded]'"
    )
