"""Other programs at this terminal, run to their own end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence


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
    with subprocess.Popen(command, env=dict(environ), start_new_session=interrupt is not None) as process:

        def pass_on(_number: int, _frame: object) -> None:
            (interrupt or process.terminate)()

        before = (
            signal.signal(signal.SIGINT, pass_on if interrupt else signal.SIG_IGN),
            signal.signal(signal.SIGTERM, pass_on),
        )
        try:
            code = process.wait()
        finally:
            signal.signal(signal.SIGINT, before[0])
            signal.signal(signal.SIGTERM, before[1])
    return code if code >= 0 else 128 - code


def captured(
    command: Sequence[str], environ: Mapping[str, str], *, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a program that talks to nobody, and keep what it prints. Ctrl-C lets it end in order.

    It gets a session of its own: killed in the middle by the terminal's Ctrl-C, docker leaves containers behind that its
    daemon is still about to make.

    Args:
        command: The program and its arguments.
        environ: Its environment.
        seconds: How long it may take.

    Raises:
        FileNotFoundError: There is no such program.
        subprocess.TimeoutExpired: It took longer.
        KeyboardInterrupt: It has ended, and so should this process.
    """
    with subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
