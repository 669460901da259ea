"""What the watch has to do with pytest: markers, the fixture `queries`, and tests that fail for what was found."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import pytest

from greenroom.plugin.keys import stage_key
from greenroom.typing import RecordQueries
from greenroom.watch.errors import RepeatedQueriesWarning
from greenroom.watch.queries import Queries, compared
from greenroom.watch.repeated import repeated

if TYPE_CHECKING:
    from greenroom.stage import Stage

_MARKERS: Final = {"lazy_loads": ("allow", "fail"), "n_plus_one": ("off", "warn", "fail")}


@pytest.fixture
def queries(request: pytest.FixtureRequest) -> RecordQueries:
    """What the application sends while a block runs, to be counted.

    `with queries() as sent: client.get(…)`, and then `assert sent.count == 2`. Those of the requests and of the
    `run(…)` in the block count, with all that these begin. What the test's own `session` sends does not count, nor
    do BEGIN, COMMIT and savepoints.
    """
    requests = request.config.stash[stage_key].watch.requests
    requests.install()
    return lambda: requests.recorded(Queries())


class WatchHooks:
    """Tells each test what was found while it ran.

    Args:
        stage: This process's stage.
    """

    def __init__(self, stage: Stage) -> None:
        self._watch = stage.watch
        self._unit = stage.config.unit_marker
        self._threshold = stage.config.n_plus_one_threshold

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the markers known."""
        for marker in (
            "lazy_loads(setting): 'allow' or 'fail' lazy loads of the application in this test",
            "n_plus_one(setting): 'off', 'warn' or 'fail' where a request repeats a query in this test",
        ):
            config.addinivalue_line("markers", marker)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse a marker that says nothing, before any test runs."""
        for item in items:
            for name, settings in _MARKERS.items():
                marker = item.get_closest_marker(name)
                if marker is not None and marker.args not in ((setting,) for setting in settings):
                    raise pytest.UsageError(
                        f"greenroom: the marker {name} takes one of {', '.join(map(repr, settings))}. "
                        f"Found: {', '.join(map(repr, marker.args)) or 'nothing'} ({item.nodeid})."
                    )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin."""
        self._watch.begin(
            item.nodeid,
            clients=item.get_closest_marker(self._unit) is None,
            lazy_loads=_setting(item, "lazy_loads"),
            n_plus_one=_setting(item, "n_plus_one"),
        )
        return (yield from self._told(item, "setup"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Tell the test."""
        return (yield from self._told(item, "call"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """Tell the test what its fixtures did at the end."""
        return (yield from self._told(item, "teardown"))

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """Show the queries where their count is compared."""
        return compared(op, left, right)

    def _told(self, item: pytest.Item, phase: str) -> Generator[None, object, object]:
        __tracebackhide__ = True
        try:
            result = yield
        except BaseException as error:
            # The test fails anyhow, and why is not ours to say; but this may be the reason.
            for finding in [*self._watch.findings.take(error), *self._repeated()]:
                item.add_report_section(phase, "greenroom", str(finding))
            raise
        texts = [*map(str, self._watch.findings.take()), *self._repeated()]
        if texts:
            pytest.fail("greenroom: " + "\n\ngreenroom: ".join(texts), pytrace=False)
        return result

    def _repeated(self) -> list[str]:
        texts = repeated(self._watch.requests.take(), self._threshold)
        if texts and self._watch.current.n_plus_one == "warn":
            for text in texts:
                warnings.warn(text, RepeatedQueriesWarning, stacklevel=2)
            return []
        return texts


def _setting(item: pytest.Item, name: str) -> str | None:
    marker = item.get_closest_marker(name)
    return marker.args[0] if marker else None
