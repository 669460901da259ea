"""The server that all contenders share: the embedded one, with greenroom's settings, in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from greenroom.output import silent
from greenroom.servers.embedded import Embedded


@contextmanager
def running() -> Iterator[Embedded]:
    """A server of the benchmark's own, gone afterwards."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder in it, of this process's own
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=memory if memory.is_dir() else None))
    folder.chmod(0o755)  # the server runs as another user, where this one is root
    server = Embedded(folder / "server", folder)
    try:
        server.start(silent)
        yield server
    finally:
        server.remove(silent)
        shutil.rmtree(folder, ignore_errors=True)
