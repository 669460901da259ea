"""Other programs at this terminal, run to their own end."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from greenroom.signals import ENDING, INTERRUPTED, end_with_parent, ignored

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

    What tells this process to end is passed on. At a terminal the program stays in the foreground, which gets Ctrl-C by
    itself. Elsewhere it has a group of its own, so that it is told once. If this process is killed, it is told to end, too.

    Args:
        command: The program and its arguments.
        environ: Its environment.
        interrupt: How to end it, if not by a signal to itself.

    Raises:
        FileNotFoundError: There is no such program.
    """
    timers: list[threading.Timer] = []
    told = False
    apart = interrupt is None and not _at_terminal()
    begins(command)
    with subprocess.Popen(
        command,
        env=dict(environ),
        start_new_session=interrupt is not None,
        process_group=0 if apart else None,
        preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509 - it takes no lock
    ) as process:

        def send(number: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                if apart:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)

        def pass_on(number: int, _frame: object) -> None:
            nonlocal told
            # A person who presses Ctrl-C again means it; `timeout` says SIGTERM several times and means it once.
            if told and number != signal.SIGINT:
                return
            told = True
            if interrupt:
                interrupt()
            else:
                send(number)
            send(signal.SIGCONT)  # one that is stopped hears nothing else
            timers.append(kill_later(lambda: send(signal.SIGKILL)))

        before = {number: signal.signal(number, pass_on) for number in ENDING if not ignored(number)}
        if interrupt is None and not apart:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            for timer in timers:
                timer.cancel()
    if told and code == 0:
        return INTERRUPTED
    return code if code >= 0 else 128 - code


def _at_terminal() -> bool:
    """Whether there is a terminal that may interrupt this process and its children."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


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
