"""The application under test: imported late, started up once, and never started up twice at the same time."""

from __future__ import annotations

import contextlib
import importlib
import operator
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import AppError
from greenroom.loop.exclusive import make_exclusive
from greenroom.loop.lifespan import Lifespan
from greenroom.places import explained, indented

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from greenroom.config import Config
    from greenroom.loop import Loop


class Application:
    """The ASGI application that the configuration names.

    Attributes:
        seconds: What importing it and starting it up took, each time that it was started.

    Args:
        config: The project.
        loop: Where it runs.
    """

    def __init__(self, config: Config, loop: Loop) -> None:
        self.seconds: list[float] = []
        self._config = config
        self._loop = loop
        self._stopped = ""
        self._app: ASGIApp | None = None
        self._overrides: dict[Any, Any] = {}
        self._lifespan: Lifespan | None = None
        self._state: dict[str, Any] = {}
        self._held: list[dict[str, Any]] = []

    @property
    def asgi(self) -> ASGIApp:
        """The application itself, imported when first asked for.

        Raises:
            AppError: It does not import.
        """
        if self._app is None:
            app: ASGIApp = load(self._config, "app")
            self._found(app)
            self._overrides = _overrides(app)
            return app
        return self._app

    @property
    def base_url(self) -> str:
        """Where its clients say that it is: the setting, or a host that its `TrustedHostMiddleware` allows."""
        if self._config.base_url:
            return self._config.base_url
        for middleware in getattr(self.asgi, "user_middleware", ()):
            allowed = [*middleware.kwargs.get("allowed_hosts", ())] if _checks_hosts(middleware) else []
            if allowed and not {"*", _HOST} & {*allowed}:
                return f"http://{allowed[0].replace('*.', f'{_HOST}.')}"
        return DEFAULT_URL

    @property
    def up(self) -> bool:
        """Whether `start` has started its lifespan."""
        return self._lifespan is not None and not self._held

    def start(self) -> dict[str, Any]:
        """Start it up, unless it is up. Returns the state that its lifespan left.

        Raises:
            Exception: What it raised while it started up, with its own traceback.
        """
        if self._held:
            return self._held[-1]
        if self._lifespan is None:
            self._state = {}
            began = time.perf_counter()
            lifespan = Lifespan(self._loop, self.asgi, self._state)
            try:
                lifespan.start()
            except Exception as error:
                error.add_note(f"while {self._config.app} started up")
                raise
            self._lifespan = lifespan
            self.seconds.append(time.perf_counter() - began)
        return self._state

    def state_of(self, app: Any) -> dict[str, Any]:
        """The state that the lifespan of an application has left, if it is this one and open; else an empty one."""
        if app is not self._app:
            return {}
        return self._held[-1] if self._held else self._state if self._lifespan is not None else {}

    def stop(self, why: str = "") -> None:
        """Shut it down, if it is up.

        Args:
            why: What a test that finds it started up again should know.
        """
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            self._stopped = why
            lifespan.stop()

    def take_restart(self) -> str:
        """Why it was started up again since this was last asked; empty if it was not, or for no reason to speak of."""
        why = self._stopped if self._lifespan is not None else ""
        if why:
            self._stopped = ""
        return why

    @contextlib.contextmanager
    def suspended(self, app: Any, state: dict[str, Any]) -> Iterator[None]:
        """Keep the lifespan from being open twice while a test or a fixture holds it open itself.

        Args:
            app: The application that it starts up; nothing happens if it is another one.
            state: What that lifespan leaves in its state, which all clients get meanwhile.
        """
        self._look()
        if app is not self._app:
            yield
            return
        self.stop()
        self._held.append(state)
        yield
        self._held.pop()

    def _look(self) -> None:
        """Find the application if other code has imported it."""
        module, _, name = self._config.app.partition(":")
        if self._app is None and module in sys.modules and not name.endswith("()"):
            with contextlib.suppress(AttributeError):
                self._found(operator.attrgetter(name)(sys.modules[module]))

    def _found(self, app: ASGIApp) -> None:
        self._app = app
        make_exclusive(app, self._suspend, self._held)

    async def _suspend(self) -> None:
        """Do what `stop` does, on the loop itself."""
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.end()

    @contextlib.contextmanager
    def keeping_overrides(self) -> Iterator[None]:
        """Undo changes to `dependency_overrides` after the block.

        An application that is imported meanwhile is remembered as it was right after that.
        """
        self._look()
        self._overrides = _overrides(self._app)
        yield
        overrides = getattr(self._app, "dependency_overrides", None)
        if overrides is not None and overrides != self._overrides:
            overrides.clear()
            overrides.update(self._overrides)


_HOST: Final = "testserver"
"""The host of Starlette's `TestClient`."""

DEFAULT_URL: Final = f"http://{_HOST}"
"""Where clients say that an application is, if it allows that."""


def _checks_hosts(middleware: Any) -> bool:
    return getattr(middleware.cls, "__name__", "") == "TrustedHostMiddleware"


def _overrides(app: Any) -> dict[Any, Any]:
    return dict(getattr(app, "dependency_overrides", {}))


def load(config: Config, key: str) -> Any:
    """The object that an import string of the configuration names; with `()` at its end, what calling it returns.

    Args:
        config: The project.
        key: The setting.

    Raises:
        AppError: It cannot be imported.
    """
    target: str = getattr(config, key)
    module, _, name = target.partition(":")
    try:
        found = operator.attrgetter(name.removesuffix("()"))(importlib.import_module(module))
        return found() if name.endswith("()") else found
    except Exception as error:
        raise AppError(
            f"{target} cannot be imported.\n{indented(explained(error, config.root))}",
            hint=f"[tool.greenroom] {key} names it",
        ) from error
