"""pytest as a child process, which is interrupted and ends normally when this process is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Self

from greenroom.processes import begins, kill_later
from greenroom.signals import ENDING, end_with_parent, ignored


class Child:
    """Runs a command, and passes on to it as Ctrl-C what tells this process to end. A context manager.

    The command gets a process group of its own, so that it is told once: a terminal and `timeout` tell a whole group, `docker
    stop` and a CI runner one process, and a second Ctrl-C would keep pytest from cleaning up.

    Attributes:
        told: This process was told to end. While the context lasts, it does not do so by itself.
    """

    def __init__(self) -> None:
        self.told = False
        self._process: subprocess.Popen[bytes] | None = None
        self._timers: list[threading.Timer] = []
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in ENDING:
            if not ignored(number):
                self._before[number] = signal.signal(number, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, command: Sequence[str], *, environ: Mapping[str, str], files: Sequence[int]) -> int:
        """Run the command to its own end. Returns its exit code, 128 and the signal's number if a signal ended it.

        Args:
            command: The program and its arguments.
            environ: Its environment.
            files: The open files that it inherits.
        """
        begins(command)
        with subprocess.Popen(
            command,
            env=dict(environ),
            # Nobody is there to answer, and to read from a terminal would stop a process that is not in its foreground.
            stdin=subprocess.DEVNULL,
            pass_fds=files,
            process_group=0,
            preexec_fn=end_with_parent(signal.SIGINT),  # noqa: PLW1509 - there are no threads in this process
        ) as process:
            self._process = process
            if self.told:
                self._interrupt()
            code = process.wait()
            for timer in self._timers:
                timer.cancel()
        return code if code >= 0 else 128 - code

    def _tell(self, number: int, _frame: FrameType | None) -> None:
        # A person who presses Ctrl-C again means it; `timeout` says SIGTERM several times and means it once.
        again = self.told and number != signal.SIGINT
        self.told = True
        if not again:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)
                os.killpg(self._process.pid, signal.SIGCONT)  # one that is stopped hears nothing else
            self._timers.append(kill_later(self._kill))

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
