"""Where a server of ours listens, chosen before it is started: the application reads its URL when it is imported.

Besides its socket a server listens on the loopback, on a random port and with random passwords: the URLs that an
application may take from its settings (pydantic's `PostgresDsn`, a host and a port put together) cannot name a socket.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import secrets
import socket
import sys
from pathlib import Path
from typing import Final, Self

from greenroom import own_files
from greenroom.errors import ServerError

LOOPBACK: Final = "127.0.0.1"

DEFAULT: Final = 5432
"""What PostgreSQL and its clients take without another port."""

_FILE: Final = "address.json"

_PORTS: Final = range(15000, 32768)
"""Below the ports that Linux (32768 on) and macOS (49152 on) give to outgoing connections."""

_TRIES: Final = 100


@dataclasses.dataclass(frozen=True)
class Address:
    """A server's port, and the secret from which the passwords of its roles are derived.

    Attributes:
        port: On the loopback, and in the name of the socket.
        secret: Hexadecimal digits, so that nothing in a URL has to be quoted.
        listens: On the loopback as well.
    """

    port: int
    secret: str
    listens: bool

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """The address of the server in a folder, or None where none was chosen yet."""
        try:
            return cls(**json.loads(own_files.read(folder / _FILE) or b"null"))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, folder: Path) -> None:
        """Write it down in the server's folder, for this user's eyes only."""
        own_files.write(folder / _FILE, json.dumps(dataclasses.asdict(self)).encode())


def on_socket() -> Address:
    """The address of a server that listens on its socket only, whose folder is its own."""
    return Address(DEFAULT, secrets.token_hex(16), listens=False)


def reserve(again: Address | None = None) -> tuple[Address, socket.socket]:
    """Choose an address whose port is free, and a socket that keeps it so until the server is started.

    On other systems than Linux the socket is closed: there a server could not listen on its port.

    Args:
        again: The address to choose if possible.

    Raises:
        ServerError: No port is free.
    """
    for port in [*([again.port] if again else ()), *random.sample(_PORTS, _TRIES)]:
        keeper = socket.socket()
        if again and port == again.port:
            # Connections that have ended just now do not count.
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            keeper.bind((LOOPBACK, port))
            # From now on a server may listen on it, which sets the same option; a second `reserve` may not have it.
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform != "linux":
                keeper.close()
            secret = again.secret if again else secrets.token_hex(16)
            return Address(port, secret, listens=True), keeper
        keeper.close()
    raise ServerError(
        f"None of {_TRIES} ports between {_PORTS.start} and {_PORTS.stop - 1} is free on {LOOPBACK}.",
        hint='end what listens there, or do without: connect = "socket" in [tool.greenroom]',
    )
