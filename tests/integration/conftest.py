"""Fixtures of the integration tests: rows to begin with, made in the test's session."""

import pytest
from sqlalchemy.orm import Session

from app.models import Provider, User
from tests import factories
from tests.fixtures import configure, no_attempts_yet, outside, reconfigure, schwab, security

__all__ = ["configure", "no_attempts_yet", "outside", "reconfigure", "schwab", "security"]


@pytest.fixture
def user(session: Session) -> User:
    """A user, Ada."""
    return factories.make_user(session)


@pytest.fixture
def provider(session: Session, user: User) -> Provider:
    """A provider of Ada's, the sandbox, that was never authorised."""
    return factories.make_provider(session, user)
