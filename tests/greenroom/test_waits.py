"""No wait for a server or a process is without an end: those that were stopped (SIGSTOP) are named, or got over."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from greenroom.connection import connect
from greenroom.database.admin import Admin
from greenroom.errors import HangError, ServerError
from greenroom.file_lock import locked
from tests.greenroom.conftest import Project, runs

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python programs, each until it prints its first line; they are killed in the end."""
    with ExitStack() as stack:

        def start(code: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            stack.callback(process.stdout.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process

        yield start


class TestServer:
    """A server that does not answer."""

    def test_statement(self, server_url: str) -> None:
        """A statement has an end, and so have the next ones of that connection."""
        connection = connect(make_url(server_url), answer=0.5)
        with pytest.raises(ServerError, match=r"did not answer within 0\.5 s"):
            connection.execute("SELECT pg_sleep(60)")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        connection.close()

    def test_no_address(self, project: Project, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stack's server that answers on its socket, but listens on no address, is not waited for without an end."""
        with connect(make_url(server_url)) as connection:
            row = connection.execute("SHOW listen_addresses").fetchone()
        if row != ("",):
            pytest.skip("this server listens")
        monkeypatch.setenv("GREENROOM_SERVER_WAIT", "0.5")
        up = project.greenroom("up")
        assert up.returncode == 2
        assert "listens on no address after 0.5 s" in up.stderr

    def test_in_time(self, server_url: str) -> None:
        """A statement that answers in time is left alone, and so are the later ones."""
        with connect(make_url(server_url), answer=1) as connection:
            for _ in range(3):
                connection.execute("SELECT pg_sleep(0.6)")

    def test_silent_server(self) -> None:
        """What accepts connections and says nothing is no server."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            url = make_url(f"postgresql://ada:secret@127.0.0.1:{port}/x")
            with pytest.raises(psycopg.OperationalError, match="timeout"):
                connect(url, connect_timeout=2)

    def test_rewind(self, project: Project) -> None:
        """A server that stops answering in the middle of a run ends it, with its cause and not with a wait."""
        project.replace("pyproject.toml", "seed =", "timeout = 1\nseed =")
        project.write(
            "tests/test_it.py",
            """
            from pathlib import Path

            import psutil

            def test_it(session):
                from sqlalchemy import text
                query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                for pid, in session.execute(text(query)).all():
                    psutil.Process(pid).suspend()
                    Path(f"stopped-{pid}").touch()

            def test_next(session): pass
            """,
        )
        began = time.monotonic()
        result = project.pytest("tests/test_it.py", "-p", "no:randomly")
        for file in project.root.glob("stopped-*"):
            psutil.Process(int(file.name.removeprefix("stopped-"))).resume()
        result.stdout.fnmatch_lines(
            ["*The server did not answer within 1 s*", "*greenroom: the server has ended*"]
        )
        assert result.parseoutcomes() == {"passed": 1, "errors": 1}
        assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
        assert time.monotonic() - began < 40

    def test_stopped_postmaster(self, embedded_project: Project) -> None:
        """With a stopped postmaster a run fails with its cause, and `down` removes it all the same."""
        up = embedded_project.greenroom("up")
        pid = int(up.stderr.rpartition("(process ")[2].partition(")")[0])
        postmaster = psutil.Process(pid)
        postmaster.suspend()
        try:
            embedded_project.write("tests/test_it.py", "def test_it(session): pass")
            result = embedded_project.pytest("tests/test_it.py")
            assert result.ret == 1
            result.stdout.fnmatch_lines(
                ["*The server does not answer*timeout*", "*→ greenroom down, then greenroom up*"]
            )
            down = embedded_project.greenroom("down")
            assert down.returncode == 0, down.stderr
            assert not runs(pid)
        finally:
            if postmaster.is_running() and postmaster.status() == psutil.STATUS_STOPPED:
                postmaster.kill()


class TestLocks:
    """A lock that somebody else holds."""

    def test_of_a_stopped_process(self, server_url: str, start: Start) -> None:
        """A lock on the server that a stopped process holds is not waited for: the process is named."""
        holder = start(f"""
            import time
            from sqlalchemy import make_url
            from greenroom.database.admin import Admin
            admin = Admin(make_url({server_url!r}))
            admin.hold("the subject")
            print("ready", flush=True)
            time.sleep(60)
            """)
        with Admin(make_url(server_url)) as admin:
            assert admin.holder("the subject") == holder.pid
            with (
                pytest.raises(HangError, match=rf"process {holder.pid}, which has held it for more than 1 s"),
                admin.lock("the subject", seconds=1),
            ):
                pass
            holder.send_signal(signal.SIGSTOP)
            with (
                pytest.raises(HangError, match=rf"process {holder.pid}, which is stopped") as caught,
                admin.lock("the subject", shared=True),
            ):
                pass
            assert f"kill -CONT {holder.pid}" in str(caught.value)
            holder.kill()
            with admin.lock("the subject") as had:
                assert had

    def test_file(self, tmp_path: Path, start: Start) -> None:
        """The lock of a file has an end, names its holder, and is free when that process has died."""
        path = tmp_path / "start.lock"
        holder = start(f"""
            import time
            from pathlib import Path
            from greenroom.file_lock import locked
            with locked(Path({str(path)!r})):
                print("ready", flush=True)
                time.sleep(60)
            """)
        said: list[str] = []
        with (
            pytest.raises(HangError, match=f"process {holder.pid} has held it"),
            locked(path, seconds=1.5, say=said.append),
        ):
            pass
        assert said == [f"waiting for process {holder.pid}, which holds {path}, 1.5 s at most …"]
        holder.kill()
        with locked(path, seconds=10):
            pass


class TestProcesses:
    """Another program that does not end."""

    def test_migration(self, project: Project) -> None:
        """A migration that waits for something that does not come fails, and what it printed is shown."""
        project.replace("pyproject.toml", "seed =", "migration_timeout = 2\nseed =")
        project.replace("pyproject.toml", 'metadata = "shop.models:metadata"', 'alembic = "alembic.ini"')
        project.write("alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
        project.write(
            "migrations/env.py", 'import time\nprint("what it said", flush=True)\ntime.sleep(600)\n'
        )
        project.write("migrations/script.py.mako", "")
        (project.root / "migrations/versions").mkdir()
        result = project.greenroom("migrate")
        assert result.returncode == 2
        assert "The schema was not built within 2 s" in result.stderr
        assert "what it said" in result.stderr
        assert "migration_timeout = 3600" in result.stderr

    @pytest.mark.parametrize("command", ["exec", "ci"])
    def test_stopped_child(self, project: Project, command: str) -> None:
        """A command that is stopped ends when the one that started it is told to end."""
        project.write(
            "tests/test_it.py",
            """
            import time
            from pathlib import Path

            def test_it():
                Path("began").touch()
                time.sleep(600)
            """,
        )
        words = ["exec", "--", "sleep", "600"] if command == "exec" else ["ci", "--", "tests/test_it.py"]
        parent = subprocess.Popen([sys.executable, "-m", "greenroom", *words], cwd=project.root)
        try:
            child = _child(parent.pid, "sleep" if command == "exec" else "pytest")
            end = time.monotonic() + 60
            while command == "ci" and not (project.root / "began").exists():
                assert parent.poll() is None
                assert time.monotonic() < end, "its test does not begin"
                time.sleep(0.05)  # until its test runs: an interrupt in the middle of an import can get lost
            child.suspend()
            parent.terminate()
            assert parent.wait(timeout=40) != 0
            assert not runs(child.pid)
        finally:
            parent.kill()
            parent.wait()


def _child(parent: int, word: str) -> psutil.Process:
    """The first process that another one has started with a word in its command."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for child in psutil.Process(parent).children(recursive=True):
            if any(word in each for each in child.cmdline()):
                return child
        time.sleep(0.05)  # until it is there
    raise AssertionError(f"no {word}")
