"""What must not be in the logs."""

import logging
from typing import Any

import pytest

from app.logs import WithoutQuery

ACCESS = '%s - "%s %s HTTP/%s" %d'


def record(message: str, arguments: Any) -> logging.LogRecord:
    """A record of uvicorn's access log."""
    return logging.LogRecord("uvicorn.access", logging.INFO, "", 0, message, arguments, None)


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/api/v1/oauth/callback?code=s3cr3t&state=s3cr3t", "/api/v1/oauth/callback"),
        ("/health/live", "/health/live"),
        ("/health/live?", "/health/live"),
        ("/a?b?c", "/a"),
    ],
)
def test_query_is_cut_off(path: str, logged: str) -> None:
    """Of the path that was asked for, nothing from the question mark on is logged."""
    access = record(ACCESS, ("127.0.0.1:80", "GET", path, "1.1", 200))

    assert WithoutQuery().filter(access)
    assert access.getMessage() == f'127.0.0.1:80 - "GET {logged} HTTP/1.1" 200'


@pytest.mark.parametrize(
    ("message", "arguments", "text"),
    [("plain?", (), "plain?"), ("%s", ("a?b",), "a?b"), ("%(x)s", ({"x": "a?b"},), "a?b")],
)
def test_other_records_pass_unchanged(message: str, arguments: Any, text: str) -> None:
    """Records of another form are let through as they are."""
    other = record(message, arguments)

    assert WithoutQuery().filter(other)
    assert other.getMessage() == text
