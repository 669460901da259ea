"""How the contract is tested: with how many requests, and which. At the end, how they were answered."""

import os
from collections import Counter
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.fixtures import no_attempts_yet

__all__ = ["no_attempts_yet"]

ANSWERS: Final[pytest.StashKey[Counter[str]]] = pytest.StashKey()
"""How many answers there were of each status."""

settings.register_profile(
    "contract",
    max_examples=int(os.environ.get("EXAMPLES", "50")),
    # A run tells something about the change, not about the dice. Whoever asks for a number of requests gets new ones.
    derandomize="EXAMPLES" not in os.environ,
    database=None,
    deadline=None,  # a slow machine is no fault of the API
    print_blob=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # the requests of a test share its user, and what they have made
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
settings.load_profile("contract")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.stash[ANSWERS] = Counter[str]()


@pytest.fixture(scope="session")
def answers(request: pytest.FixtureRequest) -> Counter[str]:
    """How many answers there were until now, by status."""
    return request.config.stash[ANSWERS]


@pytest.hookimpl(optionalhook=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell pytest-xdist's controller, where this is one of its workers."""
    if hasattr(session.config, "workeroutput"):
        answers = session.config.stash[ANSWERS]
        session.config.workeroutput["answers"] = dict(answers)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Add what a worker has counted."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    counted: dict[str, int] = getattr(node, "workeroutput", {}).get("answers", {})
    answers = config.stash[ANSWERS]
    answers.update(counted)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the counts."""
    counts = config.stash[ANSWERS]
    each = ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))
    terminalreporter.write_line(f"contract: {counts.total()} requests ({each})")
