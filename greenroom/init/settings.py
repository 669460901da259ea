"""Settings that may be written, and what speaks for each of them."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

BEFORE: Final = "greenroom.sql"
"""A SQL file that init writes where nothing in the repository makes a schema that its migrations need."""


@dataclasses.dataclass
class Settings:
    """One candidate: a table for `[tool.greenroom]`.

    Attributes:
        table: The settings.
        why: By setting (and `environment.NAME`), what speaks for it.
        today: Names of `environment_defaults` that tests are run with today, and that nothing requires.
        schemas: Schemas that a deployment makes by hand, for a file `BEFORE` of our own.
    """

    table: dict[str, Any]
    why: dict[str, str]
    today: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()

    @property
    def before(self) -> str:
        """The text of the file `BEFORE`."""
        return "".join(f'CREATE SCHEMA IF NOT EXISTS "{name}";\n' for name in self.schemas)

    def changed(self, name: str, value: Any, why: str) -> Settings:
        """A copy with one more setting; `environment.NAME` is a variable of that table."""
        table = {key: dict(each) if isinstance(each, dict) else each for key, each in self.table.items()}
        key, _, inside = name.partition(".")
        if inside:
            table.setdefault(key, {})[inside] = value
        else:
            table[key] = value
        return Settings(table, {**self.why, name: why}, self.today, self.schemas)

    def without(self, names: tuple[str, ...]) -> Settings:
        """A copy without these names of `environment_defaults`."""
        kept = {
            name: value for name, value in self.table["environment_defaults"].items() if name not in names
        }
        why = {
            name: each
            for name, each in self.why.items()
            if name.removeprefix("environment_defaults.") not in names
        }
        return Settings({**self.table, "environment_defaults": kept}, why, (), self.schemas)
