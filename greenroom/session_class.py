"""The class of the project's own database sessions, which the fixtures `session` and `async_session` use, too.

SQLModel's sessions have `exec`, and projects add methods of their own. What the project's modules have at their top level is
looked at: factories first, then classes of a library that they have imported. A class of the project's own counts only if a
factory makes it: it may do what the test's session should not, such as write an audit log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import sessionmaker

S = TypeVar("S")


def session_class(base: type[S], root: Path) -> type[S]:
    """Find the one subclass of `base` that the project uses.

    Args:
        base: SQLAlchemy's `Session` or `AsyncSession`.
        root: The project's folder.

    Returns:
        It, or `base` where there is none, or where there are several that do not derive from each other.
    """
    key = (base, root, len(sys.modules))
    if key not in _FOUND:
        _FOUND.clear()
        made: list[type[S]] = []
        named: list[type[S]] = []
        for value in _names(root):
            kind = getattr(value, "class_", None) if isinstance(value, _factories()) else value
            if isinstance(kind, type) and issubclass(kind, base):
                # A factory makes a subclass, which stands in SQLAlchemy's module.
                own = next(
                    (each for each in kind.__mro__ if not each.__module__.startswith("sqlalchemy.")), base
                )
                if issubclass(own, base) and kind is not value:
                    made.append(own)
                elif issubclass(own, base) and not _is_projects(sys.modules.get(own.__module__), root):
                    named.append(own)
        _FOUND[key] = _narrowest(made) or _narrowest(named) or base
    found: type[S] = _FOUND[key]
    return found


_FOUND: dict[tuple[type, Path, int], Any] = {}
"""For the modules that there are. A test that imports no more pays nothing."""


def _factories() -> tuple[type, ...]:
    asyncio = sys.modules.get("sqlalchemy.ext.asyncio")
    return (sessionmaker, asyncio.async_sessionmaker) if asyncio else (sessionmaker,)


def _names(root: Path) -> Iterator[Any]:
    for module in list(sys.modules.values()):
        if _is_projects(module, root):
            yield from list(vars(module).values())


def _is_projects(module: Any, root: Path) -> bool:
    file: str | None = getattr(module, "__file__", None)
    return file is not None and file.startswith(f"{root}{os.sep}") and "site-packages" not in file


def _narrowest(classes: list[type[S]]) -> type[S] | None:
    """The class that is a subclass of all others."""
    return next((each for each in classes if all(issubclass(each, other) for other in classes)), None)
