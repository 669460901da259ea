from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
from vault.models import Connection, Provider


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> int:
    """One provider with a connection. Asked for by tests that have the database."""
    session = request.getfixturevalue("session")
    provider = Provider(name="a", connection=Connection())
    session.add(provider)
    session.commit()
    return provider.id


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a failed test has left is collected before the next one, and not while pytest parses a source for a report.

    Python 3.11.7 could not parse another one meanwhile, as the warnings of these leftovers make it (gh-106905).
    """
    yield
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        vars(sys).pop(name, None)
    gc.collect()
