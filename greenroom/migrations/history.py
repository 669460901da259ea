"""The revisions of a project and their order; and as much of it as the files tell, read without importing them."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from greenroom.database import revisions
from greenroom.errors import ConfigError

if TYPE_CHECKING:
    from greenroom.config import Config

Downgrade = Literal["there", "empty", "missing"]


@dataclasses.dataclass(frozen=True)
class Revision:
    """One revision.

    Attributes:
        name: Its identifier.
        before: The revisions that must be applied before it: those that it revises, and those that it depends on.
        file: Its file.
        revises: Those of `before` that it comes after in the history.
        downgrade: Whether its downgrade is there, does nothing, or is missing.
    """

    name: str
    before: tuple[str, ...]
    file: str
    revises: tuple[str, ...]
    downgrade: Downgrade


class History:
    """All revisions, each after those that it needs.

    Args:
        found: The revisions, in any order.

    Attributes:
        revisions: By name, in an order in which they can be applied.
    """

    def __init__(self, found: Iterable[Revision]) -> None:
        left = {revision.name: revision for revision in sorted(found, key=lambda each: each.name)}
        self.revisions: dict[str, Revision] = {}
        while left:
            ready = [each for each in left.values() if not any(name in left for name in each.before)]
            for revision in ready or list(left.values()):  # a circle: Alembic says so when it is asked
                self.revisions[revision.name] = left.pop(revision.name)

    @classmethod
    def read(cls, config: Config) -> Self:
        """Read the files, without importing them.

        Raises:
            ConfigError: Alembic's configuration cannot be read, or a revision's name is not written plainly.
        """
        location, *more = revisions.folders(config)
        folders = more or [location / "versions"]
        files = {file for folder in folders for file in folder.rglob("*.py")}
        return cls(filter(None, map(_read, sorted(files))))

    def ancestors(self, names: Iterable[str]) -> frozenset[str]:
        """These revisions, and all that must be applied before them."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name not in found and name in self.revisions:
                found.add(name)
                left += self.revisions[name].before
        return frozenset(found)

    def before(self, name: str) -> frozenset[str]:
        """All that must be applied before a revision."""
        return self.ancestors(self.revisions[name].before)

    def ordered(self, names: Iterable[str]) -> list[str]:
        """These revisions in the order in which they can be applied."""
        wanted = set(names)
        return [name for name in self.revisions if name in wanted]

    def after(self, since: str | None) -> list[str]:
        """The revisions that are tested one by one: all but `since` and those before it.

        Raises:
            ConfigError: There is no revision `since`.
        """
        if since is None:
            return list(self.revisions)
        if since not in self.revisions:
            raise ConfigError(
                f"[tool.greenroom] migration_since names the revision {since!r}, which is not there. "
                f"Found: {', '.join(self.revisions) or 'none'}.",
                hint="alembic history",
            )
        past = self.ancestors([since])
        return [name for name in self.revisions if name not in past]


def empty_downgrade(file: Path) -> bool:
    """Whether the downgrade in a revision's file does nothing: its body is `pass`, `...`, `return`, or a docstring alone."""
    for node in _parsed(file).body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            return all(
                isinstance(each, ast.Pass)
                or (isinstance(each, ast.Return) and each.value is None)
                or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
                for each in node.body
            )
    return False


def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return ast.Module([], [])  # Alembic says so when it imports it


def _read(file: Path) -> Revision | None:
    module = _parsed(file)
    values = dict(_constants(module))
    name = values.get("revision")
    if not isinstance(name, str):
        if any(isinstance(node, ast.FunctionDef) and node.name == "upgrade" for node in module.body):
            raise ConfigError(
                f"{file} has an upgrade, but not its revision as a plain text, by which pytest names its tests.",
                hint='write it as Alembic does: revision = "a1b2"',
            )
        return None
    revises, depends = _names(values, "down_revision"), _names(values, "depends_on")
    return Revision(name, (*revises, *depends), str(file), revises, "there")


def _constants(module: ast.Module) -> Iterator[tuple[str, Any]]:
    """The variables of a module that are set to a constant."""
    for node in module.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, value
            elif isinstance(target, ast.Tuple):
                yield from (
                    (each.id, one)
                    for each, one in zip(target.elts, value, strict=False)
                    if isinstance(each, ast.Name)
                )


def _names(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = values.get(key) or ()
    return (value,) if isinstance(value, str) else tuple(value)
