"""Fixtures of the unit tests: none of them needs a database."""

from tests.fixtures import configure, outside

__all__ = ["configure", "outside"]
