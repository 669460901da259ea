"""What the application's lifespan sets, and what is missing where it was never entered."""

from __future__ import annotations

import sys
from typing import Any

from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.failure import Failure
from greenroom.explain.registry import recogniser


@recogniser(
    "AttributeError", says=r"^'State' object has no attribute '(\w+)'$", section="lifespan-never-entered"
)
def never_entered(failure: Failure) -> Explanation | None:
    """An `AttributeError` on `app.state` or `request.state`, under a client that has not run the lifespan."""
    if not failure.passed("starlette/datastructures.py", "__getattr__"):
        return None
    client = _client(failure)
    if not _by_a_client(failure) if failure.error is None else client is None or not _has_lifespan(client[1]):
        return None
    name = failure.said[1]
    call = failure.users.quoted if failure.users else f"`state.{name}`"
    made = (
        client[0]
        if client
        else "a client that does not enter the lifespan (`TestClient(app)` without `with`, or ASGITransport)"
    )
    # A pasted text does not tell whether the client was entered.
    since = ", since the application's lifespan has not run" if client else ": has the lifespan run?"
    return Explanation(
        f"AttributeError: state.{name} is missing{since}",
        f"{call} reads what the lifespan sets"
        + (f". The request came from {made}." if client else f", if the request came from {made}."),
        "Starlette's TestClient runs the lifespan when it is entered, and httpx's ASGITransport never does.",
        [
            ("use greenroom's client, whose lifespan is open:", "def test_it(client):\n    client.get(…)"),
            ("or enter your own:", "with TestClient(app) as client:\n    client.get(…)"),
        ],
    )


def _by_a_client(failure: Failure) -> bool:
    """Whether a pasted traceback has a client of tests that may not have run the lifespan: servers and greenroom's have."""
    client = failure.passed("starlette/testclient.py") or failure.passed("_transports/asgi.py")
    return client is not None and failure.passed("greenroom/loop/client.py") is None


def _client(failure: Failure) -> tuple[str, Any] | None:
    """The client that sent the request and has not entered the lifespan, in words, and its application."""
    starlette = sys.modules.get("starlette.testclient")
    if starlette is not None:
        for client in failure.found(starlette.TestClient):
            # Greenroom's own has a portal from the start, and its lifespan is open. One that was entered keeps its stack
            # when it is left, as it is by now.
            if client.portal is None and "exit_stack" not in vars(client):
                return "a TestClient that was not entered with `with`", client.app
            return None
    for frame in failure.frames:
        if frame.function == "handle_async_request" and frame.within("_transports/asgi.py"):
            return "httpx's ASGITransport", getattr(frame.locals.get("self"), "app", None)
    return None


def _has_lifespan(app: Any) -> bool:
    """Whether the application has a lifespan of its own; Starlette's default one sets nothing."""
    while app is not None and not hasattr(app, "router"):
        app = getattr(app, "app", None)  # a middleware around it
    context = getattr(getattr(app, "router", None), "lifespan_context", None)
    return context is not None and type(context).__name__ != "_DefaultLifespan"
