"""The plugin's hooks in a project that uses greenroom."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from greenroom.loop.join import join
from greenroom.output import Console
from greenroom.plugin import fixtures, reporting, watching
from greenroom.plugin.explaining import Explaining
from greenroom.plugin.keep_failed import Keeping
from greenroom.plugin.known import Findings
from greenroom.plugin.rewinding import Rewinding
from greenroom.plugin.stash import worker_key
from greenroom.plugin.summary import Summary
from greenroom.record import INSIDE
from greenroom.signals import ENDING
from greenroom.worker import Worker

if TYPE_CHECKING:
    from types import FrameType

    from greenroom.config import Config
    from greenroom.output import Say


def begin(pytest_config: pytest.Config, config: Config) -> None:
    """Make the worker of this process and register the hooks and fixtures that use it."""
    # As `python -m pytest` and uvicorn have it: the application is found from the project's root.
    worker = Worker.begin(config, _say(pytest_config))
    for path in config.import_paths:
        if path not in sys.path:
            sys.path.insert(0, path)
            worker.on_close(partial(_remove, sys.path, path))
    # Workers of xdist start at the same time, and then all want to be cloned at once.
    if worker.parallel and not _only_unit_tests(pytest_config, config):
        worker.open_ahead()
    pytest_config.stash[worker_key] = worker
    pytest_config.add_cleanup(worker.close)
    pytest_config.pluginmanager.register(Ending(worker), "greenroom-ending")
    pytest_config.pluginmanager.register(Hooks(worker), "greenroom-hooks")
    pytest_config.pluginmanager.register(Rewinding(worker), "greenroom-rewinding")
    pytest_config.pluginmanager.register(Keeping(worker), "greenroom-keeping")
    pytest_config.pluginmanager.register(Explaining(worker), "greenroom-explaining")
    if config.async_tests:
        from greenroom.plugin.asynchronous import Asynchronous

        pytest_config.pluginmanager.register(Asynchronous(worker), "greenroom-asynchronous")
    pytest_config.pluginmanager.register(Summary(worker), "greenroom-summary")
    pytest_config.pluginmanager.register(fixtures, "greenroom-fixtures")
    pytest_config.pluginmanager.register(watching, "greenroom-watch-fixtures")
    pytest_config.pluginmanager.register(watching.WatchHooks(worker), "greenroom-watch")
    findings = Findings(worker)
    pytest_config.pluginmanager.register(findings, "greenroom-findings")
    reporting.register(pytest_config, worker, findings)


def _only_unit_tests(pytest_config: pytest.Config, config: Config) -> bool:
    """Whether `-m unit` says that no test will have a database. Of the tests themselves nothing is known yet."""
    return bool(config.unit_marker) and pytest_config.known_args_namespace.markexpr == config.unit_marker


class Ending:
    """Treats the signals that end a process like Ctrl-C: without that, its server would stay until the next run.

    `timeout`, a cancelled CI job, a closed terminal and an IDE's stop button send them, to this process or its whole group.
    SIGINT itself is left to Python, which others replace, and to pytest.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._told = False
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._end)
                worker.on_close(partial(signal.signal, number, signal.SIG_DFL))

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        # A second one would break off the end of the first.
        if not self._told:
            self._told = True
            raise KeyboardInterrupt

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Ctrl-C, and whatever else has ended the run, was heard."""
        self._told = True


def _remove(path: list[str], entry: str) -> None:
    with contextlib.suppress(ValueError):
        path.remove(entry)


def _say(pytest_config: pytest.Config) -> Say:
    """Prints lines for the user without pytest capturing them."""
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
    """The hooks around each test.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._joined = False

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Register the markers with pytest."""
        if unit := self._worker.config.unit_marker:
            config.addinivalue_line("markers", f"{unit}: has no database; asking for one is an error")

    def pytest_report_header(self) -> str:
        """Return the header line that names the server and says why it was chosen."""
        worker = self._worker
        # In a stack the server is just one on a socket; the engine is what the stack is of.
        if inside := os.environ.get(INSIDE):
            return f"greenroom: {inside}, {worker.server.where}"
        return f"greenroom: {worker.server.kind} ({worker.why}), {worker.server.where}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Prepare for a test: what it may use, and its `TestClient`s on the loop."""
        worker = self._worker
        worker.may_use_database = item.get_closest_marker(worker.config.unit_marker) is None
        if not worker.may_use_database and fixtures.DATABASE in getattr(item, "fixturenames", ()):
            pytest.fail(
                f"greenroom: the test is marked {worker.config.unit_marker!r}, so it has no database, but it asks for "
                f"one.\n  → move it to another folder, or remove the marker",
                pytrace=False,
            )
        if not self._joined and (worker.may_use_database or "starlette.testclient" in sys.modules):
            worker.on_close(
                join(worker.loop, worker.application.suspended, asynchronous=worker.config.async_tests)
            )
            self._joined = True
