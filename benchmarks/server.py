"""The server that all contenders share: the embedded one, with greenroom's settings, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.suites import ROOT
from greenroom.output import silent
from greenroom.servers.embedded import Embedded, sweep


@contextmanager
def running() -> Iterator[Embedded]:
    """A server of the benchmark's own, gone afterwards; of a run that is killed, the next one removes it."""
    sweep()
    server = Embedded.new(ROOT, listens=False)
    try:
        server.start(silent)
        yield server
    finally:
        server.stop()
