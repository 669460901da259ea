"""A server that greenroom does not start: a service in CI, or a shared server. Its admin URL comes from the environment."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, Self

from greenroom import hints
from greenroom.errors import ServerError
from greenroom.output import silent
from greenroom.servers import trust
from greenroom.servers.base import Server
from greenroom.urls import redacted

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say


WAIT: Final = "GREENROOM_SERVER_WAIT"
"""The environment variable in which a stack says how many seconds its server may take to start."""


LOOPBACK: Final = "GREENROOM_SERVER_LOOPBACK"
"""The environment variable by which a stack says where its server listens besides its socket, as host:port."""


class External(Server):
    """The server that the environment variable `server_url` (by default GREENROOM_SERVER_URL) names.

    Greenroom creates databases on it and drops only those. The database that the URL names is connected to for these
    commands and never written to.
    """

    kind = "external"
    ours = False
    preference = 10

    _TIMEOUT = 5
    """Seconds to wait for a connection."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._variable = config.server_url
        self._admin = trust.admin_url(os.environ.get(config.server_url, ""), config)

    @classmethod
    def why_not(cls, config: Config) -> str | None:
        """Return that the variable is not set, or None if it is."""
        return None if os.environ.get(config.server_url) else f"{config.server_url} is not set"

    @classmethod
    def remedy(cls, config: Config) -> str:  # noqa: ARG003 - the same for all
        """Return a hint: set the variable to a URL."""
        return trust.REMEDY

    @classmethod
    def is_up(cls, config: Config) -> bool:
        """Whoever sets the variable keeps a server up."""
        return cls.why_not(config) is None

    @classmethod
    def for_run(cls, config: Config, say: Say = silent) -> Self:  # noqa: ARG003 - it removes nothing
        """Return the server that the environment names."""
        return cls(config)

    @classmethod
    def for_checkout(cls, config: Config) -> Self:
        """Return the server that the environment names."""
        return cls(config)

    @classmethod
    def join(cls, config: Config, handle: str) -> Self:  # noqa: ARG003 - the environment says it all
        """Return the server that the environment names, which all processes of the run share."""
        return cls(config)

    @property
    def handle(self) -> str:
        """Empty: the environment says everything that `join` needs."""
        return ""

    @property
    def admin(self) -> URL:
        """The URL from the environment."""
        return self._admin

    @property
    def loopback(self) -> tuple[str, int] | None:
        """As the stack says it."""
        host, _, port = os.environ.get(LOOPBACK, "").partition(":")
        return (host, int(port)) if port else None

    @property
    def secret(self) -> str | None:
        """The admin's password. A stack trusts all that is in it; but there are settings that refuse an empty password."""
        return super().secret or ("trusted" if self.loopback else None)

    @property
    def where(self) -> str:
        """The URL, without its password."""
        return redacted(self._admin)

    def running(self) -> bool:
        """Return whether it accepts a connection.

        Raises:
            GreenroomError: It does, and is not one to use; see `trust.check`.
        """
        import psycopg

        try:
            self._connect()
        except psycopg.OperationalError:
            return False
        return True

    def start(self, say: Say) -> None:  # noqa: ARG002 - there is nothing to report
        """Check that the server answers. Greenroom does not start it."""
        import psycopg

        try:
            self._connect()
        except psycopg.OperationalError as error:
            raise ServerError(
                f"The server that {self._variable} names does not answer ({self.where}): {_plain(error)}.",
                hint=f"start it, or correct the URL; {hints.engine('embedded')} works without it",
            ) from None

    def stop(self) -> None:
        """Do nothing: greenroom did not start this server."""

    def remove(self, say: Say) -> bool:  # noqa: ARG002 - there is nothing to say
        """Do nothing: `greenroom down` drops the databases, and leaves the server."""
        return False

    def _connect(self) -> None:
        """Connect once. In a stack whose server is still starting, retry until it accepts the connection.

        Raises:
            psycopg.OperationalError: It does not answer.
            ServerError: It answers, but it listens on no address.
            GreenroomError: It is not one to use; see `trust.check`.
        """
        import psycopg

        from greenroom.connection import connect

        patience = float(os.environ.get(WAIT) or 0)
        end = time.monotonic() + patience
        while True:
            try:
                with connect(self._admin, connect_timeout=self._TIMEOUT) as connection:
                    # The image's temporary server, which initialises the data, listens on the socket, and goes away.
                    row = connection.execute("SHOW listen_addresses").fetchone()
                    if not patience or (row and row[0]):
                        trust.check(connection, self._admin, self._config)
                        return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
            else:
                if time.monotonic() > end:
                    raise ServerError(
                        f"The server that {self._variable} names listens on no address after {patience:g} s "
                        f"({self.where}): it still initialises its data, or its setting listen_addresses is empty.",
                        hint="in the stack's file, give it the argument -clisten_addresses=127.0.0.1",
                    )
            time.sleep(0.02)  # until it is tried again: nothing tells when a server is up


def _plain(error: psycopg.Error) -> str:
    return " ".join(str(error).partition("\n\tIs the server")[0].split()).rstrip(".")
