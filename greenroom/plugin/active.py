"""The plugin's hooks in a project that uses greenroom."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from greenroom.ci.facts import INSIDE
from greenroom.errors import GreenroomError, ServerError
from greenroom.loop.join import join
from greenroom.output import Console
from greenroom.plugin import fixtures, reporting
from greenroom.plugin.explaining import Explaining
from greenroom.plugin.keeping import Keeping
from greenroom.plugin.keys import stage_key
from greenroom.plugin.summary import Summary
from greenroom.stage import Stage
from greenroom.watch import plugin as watch

if TYPE_CHECKING:
    from greenroom.config import Config
    from greenroom.output import Say


def begin(pytest_config: pytest.Config, config: Config) -> None:
    """Make the stage of this process and register the hooks and fixtures that use it."""
    # As `python -m pytest` and uvicorn have it: the application is found from the project's root.
    stage = Stage.begin(config, _say(pytest_config))
    for path in config.import_paths:
        if path not in sys.path:
            sys.path.insert(0, path)
            stage.on_close(partial(_remove, sys.path, path))
    _interrupt_on_termination(stage)
    pytest_config.stash[stage_key] = stage
    pytest_config.add_cleanup(stage.close)
    pytest_config.pluginmanager.register(Hooks(stage), "greenroom-hooks")
    pytest_config.pluginmanager.register(Keeping(stage), "greenroom-keeping")
    pytest_config.pluginmanager.register(Explaining(stage), "greenroom-explaining")
    pytest_config.pluginmanager.register(Summary(stage), "greenroom-summary")
    pytest_config.pluginmanager.register(fixtures, "greenroom-fixtures")
    pytest_config.pluginmanager.register(watch, "greenroom-watch-fixtures")
    pytest_config.pluginmanager.register(watch.WatchHooks(stage), "greenroom-watch")
    reporting.register(pytest_config, stage)


def _interrupt_on_termination(stage: Stage) -> None:
    """End a run that is told to terminate as Ctrl-C does: `timeout`, a cancelled CI job and an IDE's button say that.

    Otherwise its server would stay until the next run.
    """
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        stage.on_close(partial(signal.signal, signal.SIGTERM, signal.SIG_DFL))


def _remove(path: list[str], entry: str) -> None:
    with contextlib.suppress(ValueError):
        path.remove(entry)


def _say(pytest_config: pytest.Config) -> Say:
    """Lines for the user, past pytest's capturing of output."""
    console = Console()

    def say(line: str) -> None:
        capture = pytest_config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            console.say(line)
            return
        with capture.global_and_fixture_disabled():
            reporter = pytest_config.pluginmanager.getplugin("terminalreporter")
            if reporter is not None and reporter.currentfspath is not None:
                # In the middle of the line with a file's dots.
                reporter.ensure_newline()
            console.say(line)

    return say


class Hooks:
    """What happens around each test.

    Args:
        stage: This process's stage.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._joined = False

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the markers known."""
        for marker in (
            f"{self._stage.config.unit_marker}: needs no database; asking for one is an error",
            "rewind(scope): rewind the database only after the last test of this 'class' or 'module', not after each",
            "fresh_database: begin with a fresh clone of the template",
        ):
            config.addinivalue_line("markers", marker)

    def pytest_report_header(self) -> str:
        """Which server it is, and why."""
        stage = self._stage
        # In a stack the server is just one on a socket; the engine is what the stack is of.
        if inside := os.environ.get(INSIDE):
            return f"greenroom: {inside}, {stage.server.where}"
        return f"greenroom: {stage.server.kind} ({stage.why}), {stage.server.where}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Prepare for a test: what it may use, a fresh database if it asks for one, its `TestClient`s on the loop."""
        stage = self._stage
        stage.may_use_database = item.get_closest_marker(stage.config.unit_marker) is None
        if not stage.may_use_database and fixtures.DATABASE in getattr(item, "fixturenames", ()):
            pytest.fail(
                f"greenroom: the test is marked {stage.config.unit_marker!r}, so it has no database, but it asks for "
                f"one.\n  → move it to another folder, or take the marker away",
                pytrace=False,
            )
        if item.get_closest_marker("fresh_database") is not None:
            stage.renew()
        if not self._joined and (stage.may_use_database or "starlette.testclient" in sys.modules):
            stage.on_close(join(stage.loop, stage.application.suspended))
            self._joined = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Rewind, when all fixtures of the test are gone and nothing of it is left to come."""
        try:
            return (yield)
        finally:
            # After a unit test, too: a pool that is open already needs no new connection.
            if not _goes_on(item, nextitem):
                self._rewind(item.session)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse a marker `rewind` that says nothing, before any test runs."""
        for item in items:
            marker = item.get_closest_marker("rewind")
            if marker is not None and marker.args not in ((scope,) for scope in _SCOPES):
                raise pytest.UsageError(
                    f"greenroom: the marker rewind takes one of {', '.join(map(repr, _SCOPES))}. "
                    f"Found: {', '.join(map(repr, marker.args)) or 'nothing'} ({item.nodeid})."
                )

    def _rewind(self, session: pytest.Session) -> None:
        __tracebackhide__ = True
        message = ""
        try:
            self._stage.rewind()
        except GreenroomError as error:
            message = str(error)
            if isinstance(error, ServerError):
                # Every other test would say the same.
                session.shouldfail = "greenroom: the server has ended"
        if message:
            pytest.fail(f"greenroom: {message}", pytrace=False)


_SCOPES: Final[dict[str, type[pytest.Collector]]] = {"class": pytest.Class, "module": pytest.Module}


def _goes_on(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Whether the next test is to find what this one left: both are of one class or module marked so."""
    marker = item.get_closest_marker("rewind")
    if marker is None or nextitem is None:
        return False
    kind = _SCOPES[marker.args[0]]
    return item.getparent(kind) is nextitem.getparent(kind) is not None
