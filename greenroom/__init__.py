"""Synchronous tests for asynchronous FastAPI and SQLAlchemy services, on a real and isolated Postgres."""

__version__ = "0.1.0"
