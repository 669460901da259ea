"""The tests of the migrations: an item of pytest for each check, wherever the whole suite is collected."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from greenroom.errors import GreenroomError
from greenroom.output import silent
from greenroom.plugin.stash import worker_key

if TYPE_CHECKING:
    from greenroom.migrations.checks import Checks
    from greenroom.worker import Worker

_NAME: Final = "migrations"
"""What the node ids begin with."""


def register(pytest_config: pytest.Config) -> None:
    """Collect the checks of the project, and run them in this process's worker."""
    hooks = MigrationHooks(pytest_config.stash[worker_key])
    pytest_config.pluginmanager.register(hooks, "greenroom-migrations")
    pytest_config.pluginmanager.register(_InOrder(), "greenroom-migrations-order")
    # Before the worker's own end, with which its server may go away.
    pytest_config.add_cleanup(hooks.close)


class MigrationHooks:
    """Adds the items.

    Args:
        worker: This process.

    Attributes:
        project: The project.
    """

    def __init__(self, worker: Worker) -> None:
        self.project = worker.config
        self._checks: Checks | None = None
        self._worker = worker
        self._wanted: list[str] = []
        self._whole = False

    @property
    def checks(self) -> Checks:
        """Runs them. Imported when the first one is run: most runs have none."""
        from greenroom.migrations.checks import Checks

        if self._checks is None:
            self._checks = Checks(self.project, self._worker.server, silent)
        return self._checks

    def close(self) -> None:
        """Remove what the checks have made."""
        if self._checks is not None:
            self._checks.close()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Take `migrations` and `migrations::…` out of the arguments, which pytest takes for paths."""
        arguments = session.config.args
        self._whole = _whole(session.config)
        self._wanted = [
            each for each in arguments if each.partition("::")[0] == _NAME and not Path(each).exists()
        ]
        arguments[:] = [each for each in arguments if each not in self._wanted]
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the items, before -k and -m choose among all."""
        if not self._whole and not self._wanted:
            return
        folder = MigrationChecks.from_parent(session, name=_NAME, nodeid=_NAME, path=session.path, hooks=self)
        # As for a file: what is collected is counted.
        report = folder.ihook.pytest_make_collect_report(collector=folder)
        folder.ihook.pytest_collectreport(report=report)
        known = {_NAME, *(item.nodeid for item in report.result)}
        if unknown := [each for each in self._wanted if each not in known]:
            raise pytest.UsageError(
                f"greenroom: there is no test {', '.join(unknown)}; pytest {_NAME} --co lists them"
            )
        everything = self._whole or _NAME in self._wanted
        items += [item for item in report.result if everything or item.nodeid in self._wanted]

    def prepare(self) -> None:
        """Say that a test uses the worker's database no more than a unit test."""
        self._worker.may_use_database = False


class _InOrder:
    """Puts the items in the history's order again, where another plugin has shuffled them."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        own = [(place, item) for place, item in enumerate(items) if isinstance(item, MigrationItem)]
        for (place, _), item in zip(
            own, sorted((item for _, item in own), key=lambda item: item.place), strict=True
        ):
            items[place] = item


class MigrationChecks(pytest.Collector):
    """What the items are in, in place of a file.

    Args:
        hooks: Runs them.
        more: As pytest has it.
    """

    def __init__(self, *, hooks: MigrationHooks, **more: Any) -> None:
        super().__init__(**more)
        self._hooks = hooks

    def collect(self) -> list[MigrationItem]:
        """An item for each check. The revisions' files are read, and not imported."""
        from greenroom.migrations import checks
        from greenroom.migrations.history import History
        from greenroom.migrations.results import named

        config = self._hooks.project
        try:
            history = History.read(config)
            found = checks.names(config, history)
        except GreenroomError as error:
            raise pytest.UsageError(f"greenroom: {error}") from None
        items = []
        for place, (check, revision) in enumerate(found):
            file = history.revisions[revision].file if revision else config.root / str(config.alembic)
            name = named(check, revision)
            items.append(
                MigrationItem.from_parent(
                    self,
                    name=name,
                    path=Path(file),
                    place=place,
                    check=check,
                    revision=revision,
                    hooks=self._hooks,
                )
            )
        return items


class MigrationItem(pytest.Item):
    """One check.

    Args:
        place: Its place among the checks: each is quickest after the one before it.
        check: The check.
        revision: The revision that it is about, if it is about one.
        hooks: Runs it.
        more: As pytest has it.
    """

    def __init__(
        self, *, place: int, check: str, revision: str | None, hooks: MigrationHooks, **more: Any
    ) -> None:
        super().__init__(**more)
        self.place = place
        self._check = check
        self._revision = revision
        self._hooks = hooks

    def setup(self) -> None:
        """Keep the worker's database out of it."""
        self._hooks.prepare()

    def runtest(self) -> None:
        """Run it."""
        __tracebackhide__ = True
        message = ""
        try:
            result = self._hooks.checks.run(self._check, self._revision)
        except GreenroomError as error:
            message = str(error)
        if message:
            pytest.fail(f"greenroom: {message}", pytrace=False)
        for line in (*result.notes, *map(str, result.locks)):
            self.user_properties.append(("migration", line))
            self.add_report_section("call", "greenroom", line)
        if result.outcome == "skipped":
            pytest.skip(result.said)
        if result.outcome == "failed":
            hint = f"\n  → {result.hint}" if result.hint else ""
            pytest.fail(f"greenroom: {result.said}{hint}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is, and its name for a report."""
        return self.path, None, f"{_NAME}::{self.name}"


def _whole(config: pytest.Config) -> bool:
    """Whether the whole suite is collected: by no argument, or by folders that hold all of it.

    That is all of `testpaths`; without these, the project's root or a folder that is directly in it.
    """
    root = config.rootpath
    # Where xdist runs the tests, the workers are told what testpaths say as arguments.
    given = {Path(config.invocation_params.dir, each).resolve() for each in config.args}
    if testpaths := config.getini("testpaths"):
        paths = [path.resolve() for each in testpaths for path in root.glob(each)]
        return all(any(path.is_relative_to(folder) for folder in given) for path in paths)
    return any(folder.is_dir() and root in (folder, folder.parent) for folder in given)
