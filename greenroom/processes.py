"""Other programs at this terminal, run to their own end."""

from __future__ import annotations

import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

GRACE: Final = 60.0
"""Seconds that a program has to end after it was told to. pytest closes its fixtures meanwhile."""

_watchers: list[Callable[[str], None]] = []


def watch(say: Callable[[str], None] | None) -> None:
    """Report each program that is run from now on to `say`, or to nobody."""
    _watchers[:] = [say] if say else []


def begins(command: Sequence[str]) -> None:
    """Report that a program is run. Its words contain no password: passwords go through the environment."""
    for say in _watchers:
        say(f"running {shlex.join(command)}")


def run(
    command: Sequence[str], environ: Mapping[str, str], *, interrupt: Callable[[], None] | None = None
) -> int:
    """Run a program to its own end. Returns its exit code, 128 and the signal's number if a signal ended it.

    Args:
        command: The program and its arguments.
        environ: Its environment.
        interrupt: How to end it at Ctrl-C and SIGTERM. Without it, Ctrl-C reaches it by itself, as part of the terminal's
            foreground, and SIGTERM is passed on.

    Raises:
        FileNotFoundError: There is no such program.
    """
    timers: list[threading.Timer] = []
    begins(command)
    with subprocess.Popen(command, env=dict(environ), start_new_session=interrupt is not None) as process:

        def pass_on(_number: int, _frame: object) -> None:
            (interrupt or process.terminate)()
            process.send_signal(signal.SIGCONT)  # one that is stopped hears nothing else
            timers.append(kill_later(process.kill))

        before = (
            signal.signal(signal.SIGINT, pass_on if interrupt else signal.SIG_IGN),
            signal.signal(signal.SIGTERM, pass_on),
        )
        try:
            code = process.wait()
        finally:
            signal.signal(signal.SIGINT, before[0])
            signal.signal(signal.SIGTERM, before[1])
            for timer in timers:
                timer.cancel()
    return code if code >= 0 else 128 - code


def kill_later(kill: Callable[[], None]) -> threading.Timer:
    """Kill a program that was told to end if it has not ended `GRACE` seconds later. Cancel it when it has."""
    timer = threading.Timer(GRACE, kill)
    timer.daemon = True
    timer.start()
    return timer


def captured(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    seconds: float | None,
    cwd: Path | None = None,
    reads: str | None = None,
    merged: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a program that talks to nobody, and keep what it prints. Ctrl-C lets it end in order.

    It gets a session of its own: killed in the middle by the terminal's Ctrl-C, docker leaves containers behind that its
    daemon is still about to make.

    Args:
        command: The program and its arguments.
        environ: Its environment.
        seconds: How long it may take; None for no end.
        cwd: Its folder.
        reads: What it reads from stdin; by default nothing.
        merged: What it writes to stderr goes where stdout goes.
        options: More of them for Popen, such as another stdout.

    Raises:
        FileNotFoundError: There is no such program.
        subprocess.TimeoutExpired: It took longer. Its `output` is what was printed until then.
        KeyboardInterrupt: It has ended, and so should this process.
    """
    begins(command)
    pipes: dict[str, Any] = {
        "stdin": subprocess.DEVNULL if reads is None else subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT if merged else subprocess.PIPE,
    }
    with subprocess.Popen(
        command,
        env=dict(environ),
        cwd=cwd,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        **pipes | options,
    ) as process:
        try:
            output, errors = process.communicate(reads, timeout=seconds)
        except (KeyboardInterrupt, subprocess.TimeoutExpired) as ended:
            process.terminate()
            try:
                output, _ = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
            if isinstance(ended, subprocess.TimeoutExpired):
                ended.output = output
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
