"""The signals that end a process, and what ends with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What ends a process: Ctrl-C; `timeout`, `make` and a cancelled CI job; a closed terminal; Ctrl-\\."""

INTERRUPTED: Final = 130
"""The exit code of what was told to end: 128 plus the number of SIGINT."""

_PR_SET_PDEATHSIG: Final = 1
"""From Linux's sys/prctl.h."""


def ignored(number: signal.Signals) -> bool:
    """Whether this process is not to end by a signal: nohup's wish counts.

    A script's background ignores SIGINT and SIGQUIT as well, but who sends them there means them.
    """
    return signal.getsignal(number) is signal.SIG_IGN and number not in (signal.SIGINT, signal.SIGQUIT)


def interrupt() -> None:
    """From now on each signal that is to end this process does so as Ctrl-C does, so that what was started is removed."""
    for number in ENDING:
        if not ignored(number) and signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no signal break off a clean-up, which has an end of its own and would otherwise stay incomplete."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Functions, and not SIG_IGN, which the programs would inherit that the clean-up runs.
    before = {number: signal.signal(number, lambda *_: None) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def end_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What runs first in a child, as Popen's `preexec_fn`: the system sends it a signal when this process is killed.

    Works on Linux only.
    """
    if sys.platform != "linux":
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    def begin() -> None:
        library.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # killed before it could ask
            os.kill(os.getpid(), number)

    return begin


def end_with_caller() -> None:
    """Have the system end this process when the one that has started it is killed. Works on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def called_by_make() -> bool:
    """Whether make is the process that has started this one."""
    try:
        with open(f"/proc/{os.getppid()}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return "MAKELEVEL" in os.environ and file.read().strip().endswith("make")
    except OSError:
        return False
