"""The rewind after each test, and the baselines: what fixtures of wider scope write stays until their scope ends.

After each such fixture, what it has written is made a part of its scope's baseline (greenroom/database/rewind/baselines.py).
The rewind of a test comes after its own fixtures are torn down and before those of wider scope are, so that these find what
they have made. When a class, module or package ends, its baseline goes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from greenroom.database.rewind.baselines import ASIDE
from greenroom.errors import GreenroomError, HangError, LeftoverError, ServerError
from greenroom.plugin.watching import setting
from greenroom.plugin.wider_sessions import WiderSessions
from greenroom.watch.connection_holders import all_holders

if TYPE_CHECKING:
    from _pytest.nodes import Node

    from greenroom.database.rewind.rewinder import Rewinder
    from greenroom.worker import Worker

_SCOPES: Final[dict[str, type[pytest.Collector]]] = {"class": pytest.Class, "module": pytest.Module}


_HELP: Final = (
    'await it, or keep it to await it when the application shuts down; what is to go on: leftover_tasks = "ignore", '
    "in [tool.greenroom] or as a marker"
)


_LOST: Final = (
    "What modules have written to the database while they were imported, tables among it, is gone: the test changed the schema, "
    "or asked for a fresh database, and an import does not run twice.\n  → make it in a fixture of the session, or name the "
    "metadata in [tool.greenroom]"
)


class LeftoverTaskWarning(UserWarning):
    """A task went on after its test, with `leftover_tasks = "warn"`."""


class Rewinding:
    """The hooks that rewind.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._sessions = WiderSessions(worker.loop.run if worker.config.async_tests else None)
        self._nodes: dict[int, Node] = {}
        """The scopes that may have a baseline, by depth."""
        self._made: list[tuple[int, pytest.FixtureDef[Any], Any]] = []
        """The fixtures that have written, in their order, with their scopes' depth."""
        self._inside: list[int] = []
        """The depths of the fixtures of wider scope that are being set up."""
        self._item: pytest.Item | None = None
        self._next: pytest.Item | None = None
        self._written: set[str] = set()
        """The databases that have a baseline."""
        self._imported = False
        """Something was written while modules were imported."""
        self._used = False
        """A test may have written since the last rewind."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Register the markers with pytest."""
        for marker in (
            "rewind(scope): rewind the database after the last test of this 'class' or 'module' instead of after each",
            "fresh_database: start with a fresh clone of the template",
        ):
            config.addinivalue_line("markers", marker)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse a marker `rewind` without a valid scope, before any test runs."""
        for item in items:
            marker = item.get_closest_marker("rewind")
            if marker is not None and marker.args not in ((scope,) for scope in _SCOPES):
                raise pytest.UsageError(
                    f"greenroom: the marker rewind takes one of {', '.join(map(repr, _SCOPES))}. "
                    f"Found: {', '.join(map(repr, marker.args)) or 'nothing'} ({item.nodeid})."
                )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Keep what modules have written while they were imported for the whole run; give a test a fresh database if it asks for one."""
        if not self._nodes:
            self._imported = self._absorb(item.session)
        if item.get_closest_marker("fresh_database") is not None:
            for database in self._worker.databases.values():
                database.renew()
            if message := self._set_up_again_what_is_lost():
                pytest.fail(f"greenroom: {message}", pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Make what a fixture of wider scope writes a part of its scope's baseline."""
        node = request.node
        # A fixture of a class is the test's own where there is no class.
        if isinstance(node, pytest.Item):
            if self._item is not node:
                self._item = node
                # The first of the test's own fixtures: so this is the last of what tears them down.
                node.addfinalizer(partial(self._after, node))
            self._used = True
            return (yield)
        aside = False
        if self._inside:
            self._absorb_at(self._inside[-1])
        elif self._used:
            aside = self._absorb_at(ASIDE)
        self._inside.append(_depth(node))
        try:
            with self._sessions.noticing(_depth(node), self._rewinders):
                result = yield
            if not self._used:
                # They are the fixture's own, for as long as it lives.
                self._worker.loop.tasks.forget()
            if self._absorb(node):
                self._made.append((_depth(node), fixturedef, request))
        finally:
            self._inside.pop()
            if aside:
                self._drop(ASIDE)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Rewind the database, and drop the baselines of the scopes that have ended."""
        self._next = nextitem
        try:
            return (yield)
        finally:
            ended = nextitem is not None and self._end({*nextitem.listchain()})
            # It has not been rewound before, or fixtures of wider scope have been torn down since.
            if self._used or self._item is not item or ended:
                self._after(item)
            self._item = None

    def _after(self, item: pytest.Item) -> None:
        """Rewind after a test, unless the next one is to find what it has left."""
        __tracebackhide__ = True
        self._used = True
        found = self._tasks_of(item)
        # After a unit test, too: a pool that is open already needs no new connection.
        if not _goes_on(item, self._next):
            self._sessions.roll_back()
            self._used = False
            found += self._rewind(item.session)
        if found:
            pytest.fail("greenroom: " + "\n\ngreenroom: ".join(found), pytrace=False)

    def _tasks_of(self, item: pytest.Item) -> list[str]:
        """Wait for the tasks that a test has begun, and cancel them. Returns what fails the test."""
        config, loop = self._worker.config, self._worker.loop
        wanted = setting(item, "leftover_tasks") or config.leftover_tasks
        if wanted == "ignore":
            loop.tasks.forget()
            return []
        try:
            left = loop.tasks.settle(loop.run, config.task_timeout)
        except HangError as error:
            return [str(error)]
        if left and wanted == "warn":
            for text in left:
                warnings.warn(f"{text} {_HELP}", LeftoverTaskWarning, stacklevel=2)
        return [f"{text} It was cancelled.\n  → {_HELP}" for text in left] if wanted == "fail" else []

    def _rewind(self, session: pytest.Session) -> list[str]:
        """Rewind. Returns what fails the test."""
        found = []
        if (trouble := self._worker.loop.trouble()) is not None:
            session.shouldfail = f"greenroom: {trouble.message}"
        try:
            self._worker.rewind()
        except GreenroomError as error:
            found.append(str(error))
            if isinstance(error, LeftoverError) and (opened := all_holders()):
                found[-1] += "\n  opened at " + "\n  opened at ".join(map(str, opened))
            if isinstance(error, ServerError):
                # Every other test would say the same.
                session.shouldfail = "greenroom: the server has ended"
        if message := self._set_up_again_what_is_lost():
            found.append(message)
        return found

    def _set_up_again_what_is_lost(self) -> str:
        """After a fresh clone in the place of baselines with a schema of their own: their fixtures have to run once more.

        Returns:
            What cannot be set up again.
        """
        there = {name for name, rewinder in self._worker.rewinders.items() if rewinder.baselines.stack}
        lost, self._written = self._written - there, there
        if not lost:
            return ""
        made, self._made = self._made, []
        with contextlib.ExitStack() as stack:
            for _, fixture, request in made:
                stack.callback(fixture.finish, request)
        imported, self._imported = self._imported, False
        return _LOST if imported else ""

    def _end(self, kept: set[Node]) -> bool:
        """Drop the baselines of the scopes that are not in `kept`. Returns whether a scope has ended."""
        ended = [depth for depth, node in self._nodes.items() if node not in kept]
        if not ended:
            return False
        for depth in ended:
            del self._nodes[depth]
        self._made = [each for each in self._made if each[0] < min(ended)]
        self._drop(min(ended))
        self._sessions.forget(min(ended), self._rewinders())
        return True

    def _rewinders(self) -> Collection[Rewinder]:
        return self._worker.rewinders.values()

    def _absorb(self, node: Node) -> bool:
        self._nodes[_depth(node)] = node
        return self._absorb_at(_depth(node))

    def _absorb_at(self, depth: int) -> bool:
        """Make what was written a part of the baselines of a depth. Returns whether anything was."""
        found = {name for name, each in self._worker.rewinders.items() if each.absorb(depth)}
        self._written |= found
        return bool(found)

    def _drop(self, depth: int) -> None:
        """Drop the baselines from a depth on."""
        for name, rewinder in self._worker.rewinders.items():
            rewinder.baselines.drop(depth)
            if not rewinder.baselines.stack:
                self._written.discard(name)


def _depth(node: Node) -> int:
    """How deep a scope's node is: 1 for the session."""
    return len(node.listchain())


def _goes_on(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Return whether the next test should find what this one has left: both belong to one class or module marked so."""
    marker = item.get_closest_marker("rewind")
    if marker is None or nextitem is None:
        return False
    kind = _SCOPES[marker.args[0]]
    return item.getparent(kind) is nextitem.getparent(kind) is not None
