"""Serve an application in development: it reloads edited sources, and starts again whatever happens to its process.

uvicorn's own reloader waits for an edit when the server has died, killed by the kernel for want of memory, say: it holds
the port, and its container counts as running, but nobody answers.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from uvicorn import Config, Server
from uvicorn.supervisors.statreload import StatReload

logger = logging.getLogger("uvicorn.error")


class Reloader(StatReload):
    """uvicorn's reloader, for a server that may die.

    Args:
        config: uvicorn's configuration.
        again: Seconds from one start of the server to the next, at least, where it dies by itself: it may never get up.
    """

    def __init__(self, config: Config, again: float) -> None:
        socket = config.bind_socket()
        socket.listen(config.backlog)  # whoever calls while there is no server waits for it
        super().__init__(config, target=Server(config).run, sockets=[socket])
        self._again = again

    def startup(self) -> None:
        """Start the server."""
        self._started = time.monotonic()
        super().startup()

    def restart(self) -> None:
        """Stop the server if it runs, and start it."""
        super().restart()
        self._started = time.monotonic()

    def should_restart(self) -> list[Path] | None:
        """Return the edited files, after a short pause. Starts a server that has died."""
        edited = super().should_restart()
        if not edited and not self.process.is_alive() and time.monotonic() - self._started >= self._again:
            logger.error("The server ended with exit code %s. Starting it again.", self.process.exitcode)
            self.restart()
        return edited


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", help="module:attribute")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--reload-dir", required=True, help="the folder to watch")
    parser.add_argument(
        "--again", type=float, default=5.0, help="seconds between the starts of a server that dies"
    )
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))  # where uvicorn's own command looks, too
    config = Config(
        arguments.app,
        host=arguments.host,
        port=arguments.port,
        reload=True,
        reload_dirs=[arguments.reload_dir],
        timeout_graceful_shutdown=3,  # an open connection holds up no reload
    )
    Reloader(config, arguments.again).run()


if __name__ == "__main__":
    main()
