"""Fixtures of the unit tests: none of them needs a database."""

from tests.fixtures import configure, outside, reconfigure

__all__ = ["configure", "outside", "reconfigure"]
