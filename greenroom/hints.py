"""Hints that fit where the reader is: greenroom's own commands, or the targets of the Makefile that called greenroom.

The Makefile of this repository says `GREENROOM_HINTS=make`, and so may one that has targets of the same names.
"""

from __future__ import annotations

import os
from typing import Final

_TARGETS: Final = {
    "greenroom up": "make test-up",
    "greenroom down": "make test-down",
    "greenroom test": "make test",
    "greenroom images": "make images",
    "greenroom app logs": "make logs",
    "greenroom app down": "make down",
    "greenroom app down --volumes": "make down ARGS=--volumes",
}
_SHARD: Final = "greenroom ci --shard "


def typed(command: str) -> str:
    """Return what to type for a command.

    Args:
        command: Of greenroom's command line, such as `greenroom up`.
    """
    if not _make():
        return command
    if command.startswith(_SHARD):
        return f"make ci-test SHARD={command.removeprefix(_SHARD)}"
    return _TARGETS.get(command, command)


def engine(name: str) -> str:
    """Return what to add to a command to select another engine."""
    return f"ENGINE={name}" if _make() else f"GREENROOM_ENGINE={name}"


def without_docker() -> str:
    """Return a hint for working without Docker."""
    return f"{engine('embedded')} works without Docker"


def without_registry() -> str:
    """Return a hint for machines that reach no image registry."""
    return (
        "run make offline-images to build stand-ins, and use them with IMAGES=offline"
        if _make()
        else "set IMAGES=… to a mirror"
    )


def _make() -> bool:
    return os.environ.get("GREENROOM_HINTS") == "make"
