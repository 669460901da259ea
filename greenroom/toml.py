"""TOML files, of which several parts of greenroom read the same one: it is parsed once, which takes 5 ms for a large pyproject.toml."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, Any]:
    """What a file says. Others may get the same object: change nothing in it.

    Raises:
        OSError: It cannot be read.
        tomllib.TOMLDecodeError: It is not valid.
    """
    return _parsed(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)
