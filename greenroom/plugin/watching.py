"""The watch's side in pytest: its markers, the fixture `queries`, and the failing of tests for its findings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final

import pytest

from greenroom.plugin.stash import worker_key
from greenroom.typing import RecordQueries
from greenroom.watch import lazy_loads
from greenroom.watch.n_plus_one import RepeatedQueriesWarning, explained, repeated_queries
from greenroom.watch.queries import Queries, compared, over_budget

if TYPE_CHECKING:
    from greenroom.diagnosis.exceptions import Raised
    from greenroom.diagnosis.frames import Line
    from greenroom.worker import Worker

_MARKERS: Final = {
    "lazy_loads": ("allow", "fail"),
    "n_plus_one": ("off", "warn", "fail"),
    "leftover_tasks": ("fail", "warn", "cancel", "ignore"),
}


@pytest.fixture
def queries(request: pytest.FixtureRequest) -> RecordQueries:
    """Records the queries that the application sends while a block runs.

    `with queries() as sent: client.get(…)`, and then `assert sent.count == 2`. Those of the requests and of the
    `run(…)` in the block count, with all that these begin. What the test's own `session` sends does not count, nor
    do BEGIN, COMMIT and savepoints.
    """
    scopes = request.config.stash[worker_key].watch.scopes
    scopes.begin_to_count()
    return lambda: scopes.recorded(Queries())


class WatchHooks:
    """Fails each test for which the watch has found something.

    Args:
        worker: This process.
    """

    def __init__(self, worker: Worker) -> None:
        self._watch = worker.watch
        self._unit = worker.config.unit_marker
        self._threshold = worker.config.n_plus_one_threshold
        self._writes = worker.config.n_plus_one_writes

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Register the markers with pytest."""
        for marker in (
            "lazy_loads(setting): 'allow' or 'fail' the application's lazy loads in this test",
            "n_plus_one(setting): 'off', 'warn' or 'fail' if a request repeats a query in this test",
            "leftover_tasks(setting): 'fail', 'warn', 'cancel' or 'ignore' tasks that go on after this test",
            "max_queries(n): fail if the application sends more than n queries in this test",
        ):
            config.addinivalue_line("markers", marker)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse a marker without a valid setting, before any test runs."""
        for item in items:
            for name, settings in _MARKERS.items():
                marker = item.get_closest_marker(name)
                if marker is not None and marker.args not in ((setting,) for setting in settings):
                    raise pytest.UsageError(
                        f"greenroom: the marker {name} takes one of {', '.join(map(repr, settings))}. "
                        f"Found: {', '.join(map(repr, marker.args)) or 'nothing'} ({item.nodeid})."
                    )
            budget = item.get_closest_marker("max_queries")
            if budget is not None and not _is_number(*budget.args):
                raise pytest.UsageError(
                    "greenroom: the marker max_queries takes a number from 0 on. "
                    f"Found: {', '.join(map(repr, budget.args)) or 'nothing'} ({item.nodeid})."
                )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Tell the watch which test begins, and its settings."""
        self._watch.begin(
            item.nodeid,
            clients=item.get_closest_marker(self._unit) is None,
            lazy_loads=setting(item, "lazy_loads"),
            n_plus_one=setting(item, "n_plus_one"),
        )
        return (yield from self._reported(item, "setup"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail the test if anything was found while it ran, or if it sent more queries than its marker allows."""
        marker = item.get_closest_marker("max_queries")
        if marker is None:
            return (yield from self._reported(item, "call"))
        with self._watch.scopes.recorded(Queries()) as sent:
            return (yield from self._reported(item, "call", lambda: over_budget(sent, marker.args[0])))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail the test if anything was found while its fixtures were torn down."""
        return (yield from self._reported(item, "teardown"))

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """List the queries in the message of an assertion that compares their count."""
        return compared(op, left, right)

    def _reported(
        self, item: pytest.Item, phase: str, more: Callable[[], str] = str
    ) -> Generator[None, object, object]:
        __tracebackhide__ = True
        try:
            result = yield
        except BaseException as error:
            # The test fails anyhow, and why is not ours to say; but this may be the reason.
            for finding in filter(None, [*self._watch.findings.take(error), *self._repeated(), more()]):
                item.add_report_section(phase, "greenroom", str(finding))
            raise
        found = [*map(str, self._watch.findings.take()), *self._hidden(), *self._repeated(), more()]
        texts = list(filter(None, found))
        if texts:
            pytest.fail("greenroom: " + "\n\ngreenroom: ".join(texts), pytrace=False)
        return result

    def _hidden(self) -> list[str]:
        """Lazy loads that failed in the application, which has caught that."""
        if self._watch.current.lazy_loads != "fail":
            return []
        loads: list[Raised] = []
        others: list[Raised] = []
        for raised in self._watch.caught.take():
            (loads if lazy_loads.may_be_load(raised.error) else others).append(raised)
        # What a fixture's request has raised may explain the test's failure.
        self._watch.caught.put_back(others)
        if not loads:
            return []
        from greenroom.explain import LOADS, explain_caught, report_caught

        return [
            report_caught([found])
            for found in explain_caught(loads)
            if found[1].section in LOADS and not self._is_known(found[0].lines, found[1].title)
        ]

    def _is_known(self, lines: list[Line], title: str) -> bool:
        known = self._watch.known
        return known.note([known.found(lazy_loads.KIND, lines, title, self._watch.current.test)])

    def _repeated(self) -> list[str]:
        current, known = self._watch.current, self._watch.known
        outcome = "warned" if current.n_plus_one == "warn" else "failed"
        found = repeated_queries(self._watch.scopes.take(), self._threshold, writes=self._writes)
        new = [each for each in found if not known.note(each.places(known, current.test), outcome)]
        texts = [explanation.render() for explanation in explained(new)]
        if texts and current.n_plus_one == "warn":
            for text in texts:
                warnings.warn(text, RepeatedQueriesWarning, stacklevel=2)
            return []
        return texts


def setting(item: pytest.Item, name: str) -> str | None:
    """What a test's marker says, if it has one."""
    marker = item.get_closest_marker(name)
    return marker.args[0] if marker else None


def _is_number(*arguments: object) -> bool:
    """Whether these are one number, and not a negative one."""
    return len(arguments) == 1 and type(arguments[0]) is int and arguments[0] >= 0
