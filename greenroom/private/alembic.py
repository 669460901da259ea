"""Alembic 1.10 to 1.20."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alembic.runtime.migration import MigrationStep

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from alembic.script import ScriptDirectory


def step(
    script: ScriptDirectory,
    revision: str,
    *,
    up: bool,
    around: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> RevisionStep:
    """One revision's upgrade or downgrade, to be returned by the function of an `EnvironmentContext`.

    Args:
        script: The folder of the revisions.
        revision: The revision.
        up: Its upgrade; otherwise its downgrade.
        around: Takes the revision's function, and returns what is called in its place.
    """
    found = script.get_revision(revision)
    assert found is not None
    make = MigrationStep.upgrade_from_script if up else MigrationStep.downgrade_from_script
    made = make(script.revision_map, found)
    made.migration_fn = around(made.migration_fn)
    return made
