"""A pytest plugin, loaded for shards: each cuts the suite from the same list of tests, in whatever order it runs them.

pytest-split takes the tests as they stand where neither their durations nor their names tell them apart, such as two new
tests of one name in different files. pytest-randomly shuffles them in each shard in another way. So a test might be in two
shards, and another one in none.
"""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make pytest-split run from here."""
    split = config.pluginmanager.unregister(name="pytestsplitplugin")
    if split is None:
        raise pytest.UsageError("greenroom: shards need pytest-split, which this run does not load")
    config.pluginmanager.register(_Sorted(split), "greenroom-shard")


class _Sorted:
    """Shows the tests to pytest-split in one order, and puts those that it leaves back into theirs."""

    def __init__(self, split: Any) -> None:
        self._split = split

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        position = {item: number for number, item in enumerate(items)}
        items.sort(key=lambda item: item.nodeid)
        self._split.pytest_collection_modifyitems(config, items)
        items.sort(key=position.__getitem__)
