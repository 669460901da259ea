from __future__ import annotations

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
