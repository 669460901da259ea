"""The pytest plugin. It does nothing in projects whose pyproject.toml has no `[tool.greenroom]` table.

Only this module is imported then; the fixtures and all that they need come with `greenroom.plugin.active`.
"""

from __future__ import annotations

import dataclasses
import functools
import gc

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add greenroom's group to `pytest --help`."""
    group = parser.getgroup("greenroom", "greenroom")
    group.addoption(
        "--greenroom-engine",
        metavar="ENGINE",
        help="where Postgres comes from: auto, embedded or external; overrides engine in [tool.greenroom]",
    )
    group.addoption(
        "--greenroom-keep-failed",
        metavar="N",
        type=int,
        help="how many databases of failed tests to keep; overrides keep_failed in [tool.greenroom]",
    )
    group.addoption(
        "--greenroom-accept-findings",
        action="store_true",
        help="accept the lazy loads and repeated queries of this run: write them to known_findings of [tool.greenroom]",
    )


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start before any conftest.py can import the application: its environment must be set by then.

    Conftests come last here, and first what sets variables from files: pytest-dotenv, pytest-env.
    """
    from greenroom.config import of_project
    from greenroom.errors import GreenroomError

    try:
        config = of_project(early_config.rootpath)
        if config is not None:
            from greenroom import floors

            # Before anything is imported that an older version does not have.
            floors.check()
            named = early_config.known_args_namespace
            for key, value in (
                ("engine", named.greenroom_engine),
                ("keep_failed", named.greenroom_keep_failed),
            ):
                if value is not None:
                    config = dataclasses.replace(config, **{key: value})
            from greenroom.plugin import active

            _spare_the_collector()
            active.begin(early_config, config)
            if config.migration_tests:
                from greenroom.plugin import migrating

                migrating.register(early_config)
    except GreenroomError as error:
        raise pytest.UsageError(f"greenroom: {error}") from None


@functools.cache
def _spare_the_collector() -> None:
    """Have the garbage collector pass over what there is by now: modules of Python, pytest, SQLAlchemy and greenroom.

    They last as long as the process. Python looks at all of them several times while it imports the application, and pytest makes it
    do so twice at its end: a tenth of a second. Once in a process, before anything of the project is imported.
    """
    gc.freeze()
