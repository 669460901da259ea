"""Where Postgres comes from. Each kind of server is a module in this folder; to add a kind, add a file."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, TypeVar

from greenroom import hints
from greenroom.errors import ConfigError, ServerError, UnavailableError
from greenroom.servers.base import Enclosed, Postgres, Server, kinds
from greenroom.servers.instance import program

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.output import Say

__all__ = ["Enclosed", "Postgres", "Server", "choose", "obtain", "program"]

Kind = TypeVar("Kind", bound=Postgres)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def choose(config: Config, role: type[Kind]) -> tuple[type[Kind], str]:
    """The kind of Postgres for a project, and why it was chosen.

    With `engine = "auto"`, a server that `up` has started goes first, then what is available, in the order of preference.

    Args:
        config: Its `engine` names a kind, or is `auto`.
        role: `Server` where the caller connects to it by itself, as pytest once it runs; `Postgres` where the caller can
            hand over to a stack, too.

    Raises:
        ConfigError: No kind has that name.
        ServerError: The kind asked for is not available here, or none is.
    """
    if config.engine != "auto":
        kind = kinds().get(config.engine)
        if kind is None:
            names = ", ".join(["auto", *sorted(kinds())])
            raise ConfigError(
                f"The engine must be one of {names}. Found: {config.engine!r}.", hint=hints.engine("auto")
            )
        if not issubclass(kind, role):
            raise ServerError(
                f"Engine {config.engine} was asked for, but its database can be reached in its own stack only, "
                "and this pytest runs outside of it.",
                hint=f"{hints.typed('greenroom test')}; plain pytest works with {hints.engine('embedded')}",
            )
        if reason := kind.why_not(config):
            raise ServerError(
                f"Engine {config.engine} was asked for, but {reason}.", hint=kind.remedy(config)
            )
        return kind, "asked for"
    candidates = [kind for kind in kinds().values() if issubclass(kind, role)]
    passed: list[str] = []
    for kind in sorted(candidates, key=lambda kind: (not kind.is_up(config), kind.preference)):
        reason = kind.why_not(config)
        if reason is None:
            return kind, "; ".join(passed) or ("already running" if kind.is_up(config) else "first choice")
        passed.append(f"{kind.kind}: {reason}")
    raise ServerError(
        f"No Postgres is available here ({'; '.join(passed)}).", hint="pip install 'greenroom[embedded]'"
    )


def obtain(config: Config, say: Say) -> tuple[type[Postgres], str]:
    """Choose, and get what the chosen kind takes. With `engine = "auto"`, what is not available is passed over.

    Args:
        config: As for `choose`.
        say: Takes progress.

    Raises:
        ConfigError: No kind has that name.
        ServerError: The kind asked for is not available here, or none is.
    """
    while True:
        kind, why = choose(config, Postgres)
        try:
            kind.obtain(config, say)
        except UnavailableError:
            # From now on it is not chosen any more.
            if config.engine != "auto" or kind.why_not(config) is None:
                raise
        else:
            return kind, why
