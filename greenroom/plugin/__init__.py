"""The pytest plugin. It sleeps in projects whose pyproject.toml has no `[tool.greenroom]` table.

Only this module is imported then; the fixtures and all that they need come with `greenroom.plugin.active`.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Wake up before any conftest.py can import the application: its environment must be set by then."""
    from greenroom.config import load
    from greenroom.errors import GreenroomError

    try:
        config = load(early_config.rootpath)
        if config is not None:
            from greenroom.plugin import active

            active.begin(early_config, config)
    except GreenroomError as error:
        raise pytest.UsageError(f"greenroom: {error}") from None
