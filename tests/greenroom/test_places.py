"""Where a run's things lie: odd names, closed and full places, what is no folder, and what others have put there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from greenroom import own_files, runtime
from greenroom.errors import ServerError
from greenroom.servers.embedded import sweep
from greenroom.servers.instance import Instance
from tests.faults.places import FILLS
from tests.greenroom.conftest import PROJECTS, Project, runs

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")

PASSES = "def test_it(client): assert client.post('/customers/a').json() == {'id': 1}"

ODD = ["a \"b'$HOME", "`id`+\\", "100%20ü"]
"""Three names, since the path of a socket is short."""


def postmaster(folder: Path) -> psutil.Process:
    """The kept server's process."""
    (file,) = folder.glob("*/*/up/data/postmaster.pid")
    return psutil.Process(int(file.read_text().split()[0]))


def refused(project: Project, *said: str) -> None:
    """Check that each command says the same, without a traceback."""
    for command in ("up", "down", "status", "url"):
        done = project.greenroom(command)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        for text in said:
            assert text in done.stderr
    result = project.pytest()
    assert result.ret != 0
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


class TestNames:
    """What means something to a shell, or in a URL."""

    @pytest.mark.parametrize("name", ODD)
    def test_runtime_folder(
        self, embedded_project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """A runtime folder may have any name that libpq can be told."""
        folder = runtime / name
        monkeypatch.setenv("GREENROOM_RUNTIME_DIR", str(folder))
        embedded_project.passes(PASSES)
        up = embedded_project.greenroom("up")
        assert up.returncode == 0, up.stderr
        embedded_project.passes(PASSES)
        assert embedded_project.greenroom("psql", "-Atc", "SELECT 6 * 7").stdout == "42\n"
        assert embedded_project.greenroom("down").returncode == 0
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("name", ["a,b", "a:b"])
    def test_runtime_folder_that_parts_a_list(
        self, embedded_project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """What libpq or PostgreSQL takes for two names is refused, with the character."""
        with monkeypatch.context() as patch:
            patch.setenv("GREENROOM_RUNTIME_DIR", str(runtime / name))
            refused(embedded_project, f"must be a path without a {name[1]!r}", str(runtime / name))

    @pytest.mark.parametrize("name", ["".join(ODD), "a,b:c"])
    def test_checkout(self, embedded_project: Project, runtime: Path, tmp_path: Path, name: str) -> None:
        """A checkout may have any name, and its reports lie in it."""
        shutil.copytree(embedded_project.root, tmp_path / name)
        project = Project(tmp_path / name, embedded_project._pytester)
        project.write("tests/test_it.py", PASSES)
        done = project.greenroom("ci")
        assert done.returncode == 0, done.stdout + done.stderr
        assert sorted(path.name for path in (project.root / "reports").iterdir() if path.name[0] != ".") == [
            "junit.xml",
            "run.json",
            "summary.md",
        ]
        assert list(runtime.iterdir()) == []

    def test_ascii(self, embedded_project: Project, tmp_path: Path) -> None:
        """In an ASCII locale, paths and reports are what they are elsewhere."""
        shutil.copytree(embedded_project.root, tmp_path / "ü")
        project = Project(tmp_path / "ü", embedded_project._pytester)
        project.write("tests/test_it.py", PASSES)
        for command in ("up", "status", "ci", "down"):
            code, said = in_ascii(project, command)
            assert code == 0, said
        assert "✅" in (project.root / "reports/summary.md").read_text(encoding="utf-8")

    def test_ascii_runtime_folder(
        self, embedded_project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A runtime folder that the locale has no letters for is refused, since its socket stands in URLs."""
        with monkeypatch.context() as patch:
            patch.setenv("GREENROOM_RUNTIME_DIR", str(runtime / "ö"))
            for command in ("up", "status", "ci", "down"):
                code, said = in_ascii(embedded_project, command)
                assert code != 0
                assert "Traceback" not in said
                assert "GREENROOM_RUNTIME_DIR must be a path that this locale can write" in said


def in_ascii(project: Project, command: str) -> tuple[int, str]:
    """Run a command in an ASCII locale. Returns its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "greenroom", command],
        cwd=project.root,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


class TestFolders:
    """Places that do not do."""

    def test_file(self, embedded_project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A runtime folder that is a file is said."""
        (runtime / "file").touch()
        with monkeypatch.context() as patch:
            patch.setenv("GREENROOM_RUNTIME_DIR", str(runtime / "file"))
            refused(embedded_project, "must be a folder that can be written to", str(runtime / "file"))

    @root
    def test_umask(self, embedded_project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Root's umask 077 does not keep the server's user out of its own data."""
        monkeypatch.setenv("GREENROOM_RUNTIME_DIR", str(runtime / "one/two"))
        before = os.umask(0o077)
        try:
            up = embedded_project.greenroom("up")
        finally:
            os.umask(before)
        assert up.returncode == 0, up.stderr
        embedded_project.passes(PASSES)

    @root
    def test_closed(self, embedded_project: Project, runtime: Path) -> None:
        """A folder of root's that the server's user cannot pass through is named."""
        runtime.chmod(0o700)
        up = embedded_project.greenroom("up")
        assert up.returncode == 2
        assert f"must be able to pass through {runtime}. Found: drwx------" in up.stderr
        assert f"chmod o+x {runtime}" in up.stderr

    def test_read_only_checkout(self, embedded_project: Project) -> None:
        """A checkout that nobody may write to has its tests run."""
        embedded_project.write("tests/test_it.py", PASSES)
        read_only = [
            *(["unshare", "--mount", "sh", "-c", 'mount --bind -o ro . . && cd "$PWD" && exec "$@"', "sh"]),
            *(sys.executable, "-m", "greenroom"),
        ]
        for words in (["test", "-q"], ["up"], ["test", "-q"], ["down"]):
            done = subprocess.run(
                [*read_only, *words],
                cwd=embedded_project.root,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if "Operation not permitted" in done.stderr or "unshare" in done.stderr:
                pytest.skip("no mounts here")
            assert done.returncode == 0, done.stdout + done.stderr
        ci = subprocess.run(
            [*read_only, "ci"],
            cwd=embedded_project.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ci.returncode == 2
        assert "Cannot write to " in ci.stderr

    def test_kept_server_in_a_full_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What lies in a place is found there, also when another one has more room by now; what is new goes to that one."""
        monkeypatch.delenv("GREENROOM_RUNTIME_DIR", raising=False)
        places = tmp_path / "shm", tmp_path / "tmp"
        for place in places:
            place.mkdir()
        monkeypatch.setattr(runtime, "_PLACES", places)
        monkeypatch.setattr(runtime, "ROOM", 0)
        kept = runtime.kept(tmp_path, "up")
        assert kept.is_relative_to(places[0])
        kept.mkdir(parents=True)
        monkeypatch.setattr(runtime, "ROOM", 2**62)
        assert runtime.kept(tmp_path, "up") == kept
        assert runtime.folder(tmp_path).is_relative_to(places[1])
        assert runtime.neighbours() == [kept.parent]

    def test_neighbour(self, embedded_project: Project, runtime: Path) -> None:
        """What cannot be read in another checkout's folder keeps nobody from running, and is said."""
        assert embedded_project.greenroom("up").returncode == 0
        (folder,) = runtime.glob("*/*")
        other = folder.with_name("other-12345678") / "up"
        other.mkdir(parents=True)
        (other / "checkout").write_bytes(b"/nowhere/\xff\xfe")
        shutil.copy(folder / "up/seen-in", other)
        (other.parent / "run-1").mkdir()
        (other.parent / "run-1/lock").mkdir()
        linked = folder.with_name("linked-12345678") / "up"
        linked.mkdir(parents=True)
        (linked / "checkout").symlink_to("/etc/hostname")
        embedded_project.passes(PASSES)
        down = embedded_project.greenroom("down")
        assert down.returncode == 0, down.stderr
        assert f"{linked}, left behind by a killed run, could not be removed" in down.stderr
        assert not other.exists()
        shutil.rmtree(linked.parent)
        shutil.rmtree(other.parent)

    @pytest.mark.parametrize("seen_in", [b"1:2 3:4", None], ids=["elsewhere", "unknown"])
    def test_neighbour_in_a_container(
        self, embedded_project: Project, runtime: Path, tmp_path: Path, seen_in: bytes | None
    ) -> None:
        """A checkout that is not seen from here, but where other files are seen, is not taken for deleted."""
        away = tmp_path / "away"
        embedded_project.root.rename(away)
        neighbour = Project(away, embedded_project._pytester)
        assert neighbour.greenroom("up").returncode == 0
        (mark,) = runtime.glob("*/*/up/seen-in")
        mark.unlink()
        if seen_in:
            mark.write_bytes(seen_in)
        away.rename(embedded_project.root)
        embedded_project.passes(PASSES)
        assert embedded_project.greenroom("down").returncode == 0
        assert postmaster(runtime).is_running()
        embedded_project.root.rename(away)
        assert neighbour.greenroom("down").returncode == 0
        away.rename(embedded_project.root)
        assert list(runtime.iterdir()) == []

    @root
    def test_neighbour_behind_a_mount(self, embedded_project: Project, runtime: Path, tmp_path: Path) -> None:
        """Who has something else mounted over a checkout leaves its server running."""
        hidden = tmp_path / "hidden"
        neighbour = Project(shutil.copytree(PROJECTS / "shop", hidden / "shop"), embedded_project._pytester)
        hide = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs tmpfs "$0"; exec "$@"', str(hidden)]
        if subprocess.run([*hide, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no mounts here")
        assert neighbour.greenroom("up").returncode == 0
        down = [*hide, sys.executable, "-m", "greenroom", "down"]
        root = embedded_project.root
        done = subprocess.run(down, cwd=root, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "nothing was running" in done.stderr
        assert postmaster(runtime).is_running()
        assert neighbour.greenroom("down").returncode == 0


def test_folder_of_others(tmp_path: Path) -> None:
    """Rights are set on greenroom's own folders only: one that is not in a user's folder is refused, and nothing is changed."""
    tmp_path.chmod(0o1777)
    with pytest.raises(ValueError, match="that in the user's"):
        runtime.make(tmp_path / "checkout" / "server")
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    assert list(tmp_path.iterdir()) == []


class TestLinks:
    """Control files are opened without following links, and are this user's."""

    @pytest.fixture
    def secret(self, runtime: Path) -> Path:
        """A file that nobody is to empty or print."""
        file = runtime / "secret"
        file.write_text("the secret")
        return file

    @pytest.mark.parametrize("how", ["symlink_to", "hardlink_to"])
    def test_link(self, embedded_project: Project, runtime: Path, secret: Path, how: str) -> None:
        """A planted link is neither followed to be written to, nor printed."""
        assert embedded_project.greenroom("up").returncode == 0
        (folder,) = runtime.glob("*/*/up")
        for name in ("start.lock", "postgres.log", "checkout", "address.json", "programs.json"):
            moved = folder / f"{name}.moved"
            (folder / name).rename(moved)
            getattr(folder / name, how)(secret)
            for command in ("up", "logs"):
                done = embedded_project.command(command)
                assert "the secret" not in done.stdout + done.stderr, name
            moved.rename(folder / name)
        (folder / "start.lock").unlink()
        getattr(folder / "start.lock", how)(secret)
        down = embedded_project.command("down")
        assert down.returncode == 2
        found = "a link" if how == "symlink_to" else "one with a second name"
        assert f"start.lock must be a file that greenroom has made. Found: {found}." in down.stderr
        assert secret.read_text() == "the secret"
        (folder / "start.lock").unlink()

    @root
    def test_whose(self, embedded_project: Project, runtime: Path) -> None:
        """Root's server can write to its data and its log, and to nothing else that root reads."""
        assert embedded_project.greenroom("up").returncode == 0
        (folder,) = runtime.glob("*/*/up")
        server = postmaster(runtime).uids().real
        assert server != 0
        assert folder.stat().st_uid == 0
        assert folder.stat().st_mode & 0o022 == 0
        owners = {path.name: path.stat().st_uid for path in folder.iterdir()}
        assert {name for name, uid in owners.items() if uid == server} == {"data", "postgres.log"}

    def test_user_folder_that_is_a_link(
        self, embedded_project: Project, runtime: Path, tmp_path: Path
    ) -> None:
        """A link in the place of the user's folder is called one."""
        (runtime / f"greenroom-{os.geteuid()}").symlink_to(tmp_path)
        refused(embedded_project, "Found: a link.")
        (runtime / f"greenroom-{os.geteuid()}").unlink()

    def test_other_kinds(self, tmp_path: Path) -> None:
        """A pipe, a folder and somebody else's file are refused, and do not block."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ServerError, match="Found: no file"):
            own_files.read(tmp_path / "pipe")
        (tmp_path / "mine").touch()
        with pytest.raises(ServerError, match=f"Found: one of user {os.geteuid()}"):
            own_files.read(tmp_path / "mine", owner=os.geteuid() + 1)
        assert own_files.read(tmp_path / "nothing") is None


class TestServers:
    """Servers that do not answer, do not end, or do not start."""

    def test_all_processes_stopped(self, embedded_project: Project, runtime: Path) -> None:
        """A server whose processes are all stopped is removed within seconds."""
        assert embedded_project.greenroom("up").returncode == 0
        server = postmaster(runtime)
        for each in (server, *server.children()):
            each.suspend()
        down = embedded_project.greenroom("down")
        assert down.returncode == 0, down.stderr
        assert not runs(server.pid)

    def test_programs_that_are_gone(self, embedded_project: Project, runtime: Path) -> None:
        """A server whose programs were removed since, with their venv, is stopped all the same."""
        assert embedded_project.greenroom("up").returncode == 0
        server = postmaster(runtime)
        (file,) = runtime.glob("*/*/up/programs.json")
        file.write_text("{}")
        down = embedded_project.greenroom("down")
        assert down.returncode == 0, down.stderr
        assert not runs(server.pid)

    @pytest.mark.parametrize(
        ("file", "cause"), [("global/pg_control", "global/pg_control"), ("PG_VERSION", "data directory")]
    )
    def test_broken_data(self, embedded_project: Project, runtime: Path, file: str, cause: str) -> None:
        """Data that a server does not start with, after a clean stop, is made new, and the cause is said."""
        assert embedded_project.greenroom("up").returncode == 0
        server = postmaster(runtime)
        server.send_signal(signal.SIGINT)
        end = time.monotonic() + 30
        while list(runtime.glob("*/*/up/data/postmaster.pid")):
            assert time.monotonic() < end
            time.sleep(0.02)
        (broken,) = runtime.glob(f"*/*/up/data/{file}")
        broken.write_bytes(b"broken")
        up = embedded_project.greenroom("up")
        assert up.returncode == 0, up.stderr
        assert "the data of the last server cannot be used (" in up.stderr
        assert cause in up.stderr
        embedded_project.passes(PASSES)

    def test_up_and_down_at_once(self, embedded_project: Project, runtime: Path) -> None:
        """Whoever is first: none of them ends in a traceback, and the last `down` leaves nothing."""
        commands = [
            subprocess.Popen(
                [sys.executable, "-m", "greenroom", command],
                cwd=embedded_project.root,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for command in ("up", "down", "up", "down", "up", "down")
        ]
        said = [each.communicate(timeout=100)[0] for each in commands]
        assert "Traceback" not in "".join(said)
        assert {each.returncode for each in commands} <= {0, 2}
        assert [each.returncode for each in commands[1::2]] == [0, 0, 0], said
        assert embedded_project.greenroom("down").returncode == 0
        assert list(runtime.iterdir()) == []

    def test_lock_that_is_held(self, embedded_project: Project, runtime: Path) -> None:
        """Who holds `start.lock` is told after a moment, also if that is no program of greenroom's."""
        assert embedded_project.greenroom("up").returncode == 0
        (lock,) = runtime.glob("*/*/up/start.lock")
        holder = subprocess.Popen(
            [sys.executable, "-c", "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, 2); print(1, flush=True); time.sleep(3)", lock],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        with holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            down = embedded_project.greenroom("down")
        assert down.returncode == 0
        told = f"process {holder.pid}" if sys.platform == "linux" else "process"
        assert f"waiting for {told}, which holds {lock}" in down.stderr.replace("another ", "")

    def test_sweep(self, embedded_project: Project, runtime: Path) -> None:
        """What a sweep cannot remove, since somebody holds its lock, is said, and the run is green."""
        assert embedded_project.greenroom("up").returncode == 0
        (folder,) = runtime.glob("*/*/up")
        dead = folder.with_name("run-1")
        dead.mkdir()
        (dead / "lock").touch()
        code = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, flush=True); time.sleep(60)"
        holder = subprocess.Popen([sys.executable, "-c", code, dead / "start.lock"], stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            result = embedded_project.passes(PASSES)
            assert f"{dead}, left behind by a killed run, could not be removed" in result.stderr.str()
        finally:
            holder.kill()
            holder.communicate()

    @pytest.mark.usefixtures("runtime")
    def test_removed_by_two(self, tmp_path: Path) -> None:
        """Whoever sweeps while a server's folder is removed takes nothing away from under the one who removes it."""
        folder = runtime.kept(tmp_path, "up")
        runtime.make(folder)
        for number in range(3000):
            (folder / f"{number}").touch()
        over = threading.Event()

        def sweeps() -> None:
            while not over.is_set():
                sweep()

        sweeper = threading.Thread(target=sweeps)
        sweeper.start()
        try:
            assert Instance(folder).remove()
            assert not folder.exists()
        finally:
            over.set()
            sweeper.join()

    @root
    def test_full_disk(
        self, embedded_project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server whose WAL finds no room ends: the run says so, and what helps; the next one is green."""
        full = runtime / "full"
        full.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=75m", "tmpfs", full], check=False).returncode:
            pytest.skip("no mounts here")
        embedded_project.write("tests/conftest.py", "")
        embedded_project.write("tests/test_it.py", FILLS)
        try:
            with monkeypatch.context() as patch:
                patch.setenv("GREENROOM_RUNTIME_DIR", str(full))
                assert embedded_project.greenroom("up").returncode == 0
                result = embedded_project.pytest()
                assert result.ret == 1
                assert "Traceback" not in result.stderr.str()
                result.stdout.fnmatch_lines(["*the disk with its data is full: *No space left on device*"])
                (full / "full").unlink()
                again = embedded_project.greenroom("up")
                assert again.returncode == 0, again.stderr
                embedded_project.passes(PASSES)
                embedded_project.greenroom("down")
        finally:
            subprocess.run(["umount", "--lazy", full], check=True)

    @root
    def test_disk_that_is_too_small(
        self, embedded_project: Project, runtime: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a server finds no room for its template, the error says so, without a traceback."""
        small = runtime / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", small], check=False).returncode:
            pytest.skip("no mounts here")
        try:
            with monkeypatch.context() as patch:
                patch.setenv("GREENROOM_RUNTIME_DIR", str(small))
                up = embedded_project.greenroom("up")
                assert up.returncode == 2
                assert "Traceback" not in up.stderr
                assert "the disk with its data is full: " in up.stderr
                assert embedded_project.greenroom("down").returncode == 0
        finally:
            subprocess.run(["umount", "--lazy", small], check=True)
