"""A server that somebody else runs: a service in CI, or a shared one. Its admin URL comes from the environment."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, Self

from greenroom import checkout
from greenroom.errors import ServerError
from greenroom.servers import trust
from greenroom.servers.base import Server
from greenroom.urls import conninfo, redacted

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import URL

    from greenroom.config import Config
    from greenroom.output import Say


WAIT: Final = "GREENROOM_SERVER_WAIT"
"""The environment variable by which a stack says how many seconds its server may take to be there."""


class External(Server):
    """The server that the environment variable `server_url` (by default GREENROOM_SERVER_URL) names.

    Greenroom creates databases on it and drops only those. The database that the URL names is connected to for these
    commands and never written to.
    """

    kind = "external"
    preference = 10
    remedy = trust.REMEDY

    _TIMEOUT = 5
    """Seconds to wait for a connection."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._variable = config.server_url
        self._role = config.role
        self._checkout = checkout.identity(config.root)
        self._admin = trust.admin_url(os.environ.get(config.server_url, ""), config)

    @classmethod
    def why_not(cls, config: Config) -> str | None:
        """It can be had where the variable is set."""
        return None if os.environ.get(config.server_url) else f"{config.server_url} is not set"

    @classmethod
    def kept(cls, config: Config) -> bool:
        """Whoever sets the variable keeps a server up."""
        return cls.why_not(config) is None

    @classmethod
    def for_run(cls, config: Config) -> Self:
        """The server of the environment."""
        return cls(config)

    @classmethod
    def for_checkout(cls, config: Config) -> Self:
        """The server of the environment."""
        return cls(config)

    @classmethod
    def join(cls, config: Config, handle: str) -> Self:  # noqa: ARG003 - the environment says it all
        """The server of the environment, which all processes of the run share."""
        return cls(config)

    @property
    def handle(self) -> str:
        """Nothing: the environment says it all."""
        return ""

    @property
    def admin(self) -> URL:
        """The URL from the environment."""
        return self._admin

    @property
    def where(self) -> str:
        """The URL, without its password."""
        return redacted(self._admin)

    def running(self) -> bool:
        """Whether it accepts a connection.

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
        """Check that it answers; somebody else starts it."""
        import psycopg

        try:
            self._connect()
        except psycopg.OperationalError as error:
            raise ServerError(
                f"The server that {self._variable} names does not answer ({self.where}): {_plain(error)}.",
                hint="start it, or correct the URL; ENGINE=embedded does without it",
            ) from None

    def stop(self) -> None:
        """Leave it alone: it is not ours."""

    def remove(self, say: Say) -> bool:
        """Drop this checkout's databases that are not in use; the server is not ours."""
        if not self.running():
            return False
        from greenroom.database.admin import Admin

        dropped = False
        with Admin(self._admin) as admin:
            for database in admin.databases():
                if database.checkout != self._checkout:
                    continue
                with admin.lock(database.name, wait=False) as free:
                    if free:
                        admin.drop(database.name)
                        say(f"dropped {database.name}")
                        dropped = True
            if dropped and admin.drop_role(self._role):
                say(f"dropped the role {self._role}")
        return dropped

    def _connect(self) -> None:
        """Connect once; in a stack whose server is just being started, as soon as that is possible.

        Raises:
            psycopg.OperationalError: It does not answer.
            GreenroomError: It is not one to use; see `trust.check`.
        """
        import psycopg

        patience = float(os.environ.get(WAIT) or 0)
        end = time.monotonic() + patience
        while True:
            try:
                with psycopg.connect(conninfo(self._admin), connect_timeout=self._TIMEOUT) as connection:
                    # The image's temporary server, which initialises the data, listens on the socket, and goes away.
                    row = connection.execute("SHOW listen_addresses").fetchone()
                    if not patience or (row and row[0]):
                        trust.check(connection, self._admin, self._config)
                        return
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.02)


def _plain(error: psycopg.Error) -> str:
    return " ".join(str(error).partition("\n\tIs the server")[0].split()).rstrip(".")
