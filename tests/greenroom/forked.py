"""Inner runs without the imports: a process that has imported the libraries is forked for each `python -m …`.

Some hundred tests run pytest, or the command line, in a project of their own, as a user does. Two thirds of each such run
went to importing the same libraries: SQLAlchemy, FastAPI, psycopg, pytest. `command` gives the words of a small client that
hands its arguments, folder, environment and open files to a server; the server, which has imported those libraries and
nothing of greenroom and no plugin of pytest, forks, and the copy runs the module and ends as any Python does. A client that
is killed takes its copy with it, and the end of the test process ends the server.

Where the interpreter itself was to start otherwise (PYTHON… or the locale), or there is no `pidfd_open` (it is Linux's), the
words are those of an ordinary start.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LIBRARIES: Final = (
    "_pytest.pytester", "alembic.command", "asyncpg", "asyncio", "coverage", "execnet", "fastapi.testclient", "httpx2",
    "psycopg.types.json", "psutil", "pydantic", "pytest", "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.ext.asyncio", "sqlalchemy.orm", "unittest.mock",
)  # fmt: skip
"""What the server imports. A library that an inner run does not need does no harm: nothing of it has run."""

REWRITTEN: Final = ("anyio",)
"""Libraries whose distribution has a plugin for pytest, which warns where they were imported without it."""

_CLIENT: Final = """
import array, os, signal, socket, sys
server, *words = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as own:
    own.connect(server)
    told = "\\0".join([os.getcwd(), str(len(words)), *words, *(f"{n}={v}" for n, v in os.environ.items())])
    data = told.encode("utf-8", "surrogateescape")
    own.sendmsg([len(data).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    own.sendall(data)
    answers = own.makefile("r")
    copy = int(answers.readline() or 0)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, lambda number, frame: os.kill(copy, number))
    code = int(answers.readline() or 70)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""

_started: list[str] = []

_ENVIRON: Final = dict(os.environ)
"""Before any test has changed it: the first test that needs the server must not decide what it imports."""


def command(module: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The words that run a module as `python -m` does; its arguments come after them.

    Args:
        module: The module.
        environ: The environment that it will get, if that is not this process's.
    """
    ordinary = [sys.executable, "-m", module]
    if not hasattr(os, "pidfd_open"):
        return ordinary
    if not _started:
        _started.append(_start())
    if _of_the_interpreter(_ENVIRON) != _of_the_interpreter(os.environ if environ is None else environ):
        return ordinary
    return [sys.executable, "-I", "-S", "-c", _CLIENT, _started[0], module]


def _of_the_interpreter(environ: Mapping[str, str]) -> dict[str, str]:
    names = ("PYTHON", "LANG", "LC_", "LD_", "TZ")
    return {name: value for name, value in environ.items() if name.startswith(names)}


def _start() -> str:
    folder = tempfile.mkdtemp(prefix="gr-")
    path = f"{folder}/socket"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    server = subprocess.Popen(
        [sys.executable, __file__, str(listening.fileno())],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[listening.fileno()], env=_ENVIRON,
    )  # fmt: skip
    listening.close()

    def stop() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(10)
        Path(path).unlink()
        Path(folder).rmdir()

    atexit.register(stop)
    return path


# -- the server ------------------------------------------------------------------------------------------------------


def _import() -> None:
    from _pytest.assertion import install_importhook
    from _pytest.config import get_config

    config = get_config()
    vars(config).setdefault("inicfg", {})  # pytest 8 makes it only when it parses
    hook = install_importhook(config)
    hook.mark_rewrite(*REWRITTEN)
    for name in (*REWRITTEN, *LIBRARIES):
        with contextlib.suppress(ImportError):  # the oldest versions lack some
            importlib.import_module(name)
    sys.meta_path.remove(hook)
    gc.collect()
    gc.freeze()


def _serve(listening: socket.socket) -> list[str]:
    """Fork for each client. Returns in the copies only, with the words of the command."""
    while True:
        ready, _, _ = select.select([listening.fileno(), 0], [], [])
        if 0 in ready:
            os._exit(0)  # what started this has ended
        client, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            return _attend(client)
        client.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _attend(client: socket.socket) -> list[str]:
    """Fork once more, and tell the client how the copy ends. Returns in the copy."""
    size, files, _, _ = socket.recv_fds(client, 4, 3)
    data = b""
    while len(data) < int.from_bytes(size, "big"):
        data += client.recv(1 << 16)
    folder, count, *rest = data.decode("utf-8", "surrogateescape").split("\0")
    copy = os.fork()
    if copy == 0:
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(dict(each.split("=", 1) for each in rest[int(count) :]))
        return rest[: int(count)]
    for number in (0, *files):
        os.close(number)
    client.sendall(f"{copy}\n".encode())
    ended = os.pidfd_open(copy)
    if client.fileno() in select.select([ended, client.fileno()], [], [])[0]:
        os.kill(copy, signal.SIGKILL)
    _, status = os.waitpid(copy, 0)
    with contextlib.suppress(OSError):
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _main() -> None:
    _import()
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        module, *arguments = _serve(listening)
    sys.argv = [module, *arguments]
    sys.path[0] = str(Path.cwd())
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
