"""What the plugin keeps on pytest's own objects."""

from __future__ import annotations

import pytest

from greenroom.stage import Stage

stage_key = pytest.StashKey[Stage]()


def needs_database(item: pytest.Item) -> bool:
    """Whether a test may use the database: whatever is not marked as a unit test may."""
    return item.get_closest_marker(item.config.stash[stage_key].config.unit_marker) is None
