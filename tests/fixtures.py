"""Fixtures that several tiers share: the environment of a test, and a provider outside of the process."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl

import pytest
from sqlalchemy.orm import Session

from app.attempts import Attempts
from app.main import app
from app.models import CatalogueEntry
from app.security import Security
from app.settings import get_settings


class Configure(Protocol):
    """The type of the fixture `configure`."""

    def __call__(self, **variables: str | None) -> None:
        """Set environment variables, or with None unset them, and have the settings read again."""


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Change the environment for the rest of the test: for settings that are read, and applications that are made, in it."""
    with pytest.MonkeyPatch.context() as patch:

        def configure(**variables: str | None) -> None:
            for name, value in variables.items():
                if value is None:
                    patch.delenv(name, raising=False)
                else:
                    patch.setenv(name, value)
            get_settings.cache_clear()

        yield configure
    get_settings.cache_clear()


@pytest.fixture
def reconfigure(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Change the environment, and the application under test with it: all of it but its database."""
    resources = app.state.resources

    def reconfigure(**variables: str | None) -> None:
        configure(**variables)
        settings = get_settings()
        monkeypatch.setattr(resources, "settings", settings)
        monkeypatch.setattr(resources, "security", Security(settings))
        monkeypatch.setattr(resources, "attempts", Attempts(settings))

    return reconfigure


class Clock:
    """A clock that stands until it is turned on."""

    now = 1000.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


@pytest.fixture(autouse=True)
def no_attempts_yet() -> None:
    """Have no login or registration of an earlier test count: the application and its memory outlive a test."""
    attempts: Attempts = app.state.resources.attempts
    attempts.forget()


@pytest.fixture
def security(reconfigure: Configure) -> Security:
    """The keys of the application under test."""
    security: Security = app.state.resources.security
    return security


@dataclass(frozen=True)
class Received:
    """A request that reached the outside provider."""

    path: str
    form: Mapping[str, str]
    authorisation: str


class OutsideProvider:
    """An OAuth2 provider over HTTP on this machine, which answers what the test tells it to.

    `answers` holds a status and a body for each path: anything JSON, or text as it is.
    """

    client_id = "our-id"
    client_secret = "our-secret"

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.received: list[Received] = []
        self._arrived = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self.issue("access-1", "refresh-1")
        self.answers["/accounts"] = (
            200,
            {"accounts": [{"id": "1", "name": "IRA", "currency": "USD", "balance": "12.50"}]},
        )
        self.answers["/revoke"] = 200, {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        # The socket listens already: whoever connects before the thread is at work is answered then.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,))
        self._thread.start()

    def hold(self) -> None:
        """Let the answers to all further requests wait."""
        self._arrived.clear()
        self._open.clear()

    def wait_for_request(self) -> None:
        """Wait until a request has come in since `hold`."""
        assert self._arrived.wait(timeout=10), "no request came"

    def release(self) -> None:
        """Answer what waits, and all further requests at once."""
        self._open.set()

    def stop(self) -> None:
        """Go down: from here on connections are refused."""
        self.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def issue(self, access_token: str, refresh_token: str | None, **more: Any) -> None:
        """Have the next exchanges and refreshes answered with these tokens."""
        answer = {"access_token": access_token, "refresh_token": refresh_token, "token_type": "Bearer"}
        self.answers["/token"] = 200, {name: value for name, value in (answer | more).items() if value}

    @property
    def endpoints(self) -> dict[str, str]:
        """The URLs as the catalogue has them."""
        address = f"http://127.0.0.1:{self._server.server_port}"
        return {f"{name}_url": f"{address}/{name}" for name in ("authorize", "token", "revoke", "accounts")}

    def _handler(outside) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                outside.received.append(
                    Received(self.path, dict(parse_qsl(body)), self.headers.get("Authorization", ""))
                )
                outside._arrived.set()
                outside._open.wait()
                status, answer = outside.answers[self.path]
                is_text = isinstance(answer, str)
                with contextlib.suppress(ConnectionError):  # the service may have given up waiting
                    self.send_response(status)
                    self.send_header("Content-Type", "text/html" if is_text else "application/json")
                    self.end_headers()
                    self.wfile.write((answer if is_text else json.dumps(answer)).encode())

            do_GET = do_POST  # noqa: N815 - the library's name

            def log_message(self, *_arguments: object) -> None:
                """Nobody reads it."""

        return Handler


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, reconfigure: Configure) -> Iterator[OutsideProvider]:
    """A provider outside of the process, with credentials for the service as Schwab's."""
    provider = OutsideProvider()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    credentials = {"client_id": provider.client_id, "client_secret": provider.client_secret}
    reconfigure(OAUTH_CLIENTS=json.dumps({"schwab": credentials}))
    yield provider
    provider.stop()


@pytest.fixture
def schwab(session: Session, outside: OutsideProvider) -> OutsideProvider:
    """The outside provider, where the catalogue says that Schwab is."""
    entry = session.get_one(CatalogueEntry, "schwab")
    for name, url in outside.endpoints.items():
        setattr(entry, name, url)
    session.commit()
    return outside
