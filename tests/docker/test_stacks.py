"""The test stack: what it isolates, and that the commands on it do what they do without Docker."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from greenroom.docker.client import DockerError
from greenroom.docker.images import TEST_FILE
from greenroom.docker.stack import Stack
from greenroom.servers.instance import SETTINGS
from tests.docker.conftest import HERE, docker, run
from tests.docker.stacks import Copy, inspect

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, images: str) -> Iterator[Copy]:
    """A checkout whose stack is up."""
    copy = Copy(tmp_path_factory.mktemp("stack") / "shop", images)
    try:
        copy.done("up")
        yield copy
    finally:
        copy.run("down")
    assert copy.left() == []


class TestCommands:
    """The commands, on Docker."""

    def test_first_line(self, up: Copy) -> None:
        """The first line tells the engine and why."""
        assert up.done("up").splitlines()[0] == "greenroom: engine docker (asked for)"

    def test_up_again(self, up: Copy) -> None:
        """A stack that is up is left as it is, and the template is not built again."""
        before = up.container("postgres")
        said = up.done("up")
        assert "already running" in said
        assert "up to date: greenroom_template_" in said
        assert up.container("postgres") == before

    def test_status(self, up: Copy) -> None:
        """The status lists the stack and the databases in it."""
        said = up.done("status")
        assert re.search(rf"^server +Compose project {up.identity}-test$", said, re.MULTILINE)
        assert re.search(r"^template +greenroom_template_\w+: up to date$", said, re.MULTILINE)

    def test_url(self, up: Copy) -> None:
        """The URL is the one inside the stack."""
        assert "@127.0.0.1:5432/greenroom_" in up.done("url").splitlines()[-1]

    def test_psql(self, up: Copy) -> None:
        """Psql runs inside, on a database at the newest migration."""
        assert "0" in up.done("psql", "--", "-tAc", "SELECT count(*) FROM users").splitlines()

    def test_exec(self, up: Copy) -> None:
        """A command gets a fresh database in the stack, and its exit code is passed on."""
        assert (
            up.run(
                "exec", "--", "python", "-c", "import os; os.environ['DATABASE_URL']; raise SystemExit(7)"
            )[0]
            == 7
        )

    def test_logs(self, up: Copy) -> None:
        """The server's log can be read."""
        assert "database system is ready to accept connections" in up.done("logs")

    def test_pytest_outside(self, up: Copy) -> None:
        """A pytest outside of the stack says that it cannot reach the database, and what does."""
        up.write("tests/test_it.py", "def test_it(session): pass\n")
        done = run(
            "env",
            "-C",
            str(up.root),
            "--unset=GREENROOM_HINTS",
            "GREENROOM_ENGINE=docker",
            f"{HERE}/.venv/bin/python",
            "-mpytest",
            "tests",
        )
        assert done.returncode != 0
        assert "can be reached in its own stack only" in done.stdout
        assert "greenroom test" in done.stdout


class TestRuns:
    """pytest in the stack."""

    @pytest.mark.parametrize(
        ("body", "code"),
        [("def test_it(session): pass", 0), ("def test_it(session): 1 / 0", 1), ("", 5), ("1 / 0", 2)],
    )
    def test_exit_code(self, up: Copy, body: str, code: int) -> None:
        """The exit code is pytest's."""
        up.write("tests/test_it.py", body)
        assert up.test("-q")[0] == code

    def test_own_stack(self, tmp_path: Path, images: str) -> None:
        """Without a stack that is up, a run starts its own, migrates, and leaves nothing."""
        copy = Copy(tmp_path / "alone", images)
        code, said = copy.test()
        assert code == 0, said
        assert "migrated in" in said
        assert "1 passed" in said
        assert copy.left() == []

    def test_header(self, up: Copy) -> None:
        """Pytest's header names the engine, and the folder as it is outside."""
        up.write("tests/test_it.py", "def test_it(): pass\n")
        code, said = up.test()
        assert code == 0
        assert "greenroom: docker, " in said
        assert f"rootdir: {up.root}" in said

    def test_whose_files(self, up: Copy) -> None:
        """What the suite writes belongs to who called it."""
        up.write("tests/test_it.py", "def test_it(): open('written', 'w').close()\n")
        assert up.test()[0] == 0
        assert (up.root / "written").stat().st_uid == os.geteuid()
        assert (up.root / "written").stat().st_gid == os.getegid()

    def test_application(self, up: Copy) -> None:
        """The application runs in the stack as it does without: over HTTP, asyncpg and a commit."""
        up.write(
            "tests/test_it.py",
            "def test_it(client, session):\n"
            "    ada = {'email': 'a@example.com', 'password': 'correct horse battery', 'name': 'Ada'}\n"
            "    assert client.post('/api/v1/auth/register', json=ada).status_code == 201\n"
            "    assert session.connection().exec_driver_sql('SELECT name FROM users').scalar() == 'Ada'\n"
            "def test_gone(session):\n"
            "    assert session.connection().exec_driver_sql('SELECT count(*) FROM users').scalar() == 0\n",
        )
        code, said = up.test()
        assert code == 0, said


class TestIsolation:
    """What can be reached, and from where: each of these tries it."""

    def test_from_the_tests(self, up: Copy) -> None:
        """From the test container there is no way out, not to the machine either, and no name is resolved.

        The loopback is the database's own.
        """
        up.write(
            "tests/test_it.py",
            "import os, socket\n"
            "import pytest\n"
            "def test_interfaces():\n"
            "    assert [name for _, name in socket.if_nameindex() if name == 'lo' or 'eth' in name] == ['lo']\n"
            # The machine, as a container on the default bridge has it, and the world.
            "@pytest.mark.parametrize('address', [('172.17.0.1', 22), ('192.0.2.1', 80)])\n"
            "def test_out(address):\n"
            "    with pytest.raises(OSError, match='unreachable'):\n"
            "        socket.create_connection(address, timeout=2)\n"
            "def test_names():\n"
            "    with pytest.raises(socket.gaierror):\n"
            "        socket.getaddrinfo('example.com', 80)\n"
            "def test_the_database(session, database_url):\n"
            "    assert '@127.0.0.1:5432/' in database_url\n"
            "    assert os.path.exists('/var/run/postgresql/.s.PGSQL.5432')\n",
        )
        code, said = up.test()
        assert code == 0, said

    def test_option(self, up: Copy) -> None:
        """NETWORK=bridge opens it."""
        up.write(
            "tests/test_it.py",
            "import socket\ndef test_it(): assert 'eth0' in dict(map(reversed, socket.if_nameindex()))\n",
        )
        assert up.test(NETWORK="bridge")[0] == 0
        assert up.test()[0] == 1

    def test_from_outside(self, up: Copy, offline_images: tuple[str, str]) -> None:
        """The database has no address: it has no network, publishes nothing, and its only interface is its own loopback."""
        facts = inspect(up.container("postgres"))
        assert facts["HostConfig"]["NetworkMode"] == "none"
        assert [network["IPAddress"] for network in facts["NetworkSettings"]["Networks"].values()] == [""]
        assert not facts["NetworkSettings"]["Ports"]
        interfaces = docker("exec", facts["Id"], "cat", "/proc/net/dev")
        assert re.findall(r"^ *(lo|eth\d+):", interfaces, re.MULTILINE) == ["lo"]
        # And from a container on the ordinary network, which knows its name.
        tried = run(
            "docker", "run", "--rm", "--entrypoint", "pg_isready", offline_images[1],
            "-t", "2", "-h", facts["Name"].strip("/"),
        )  # fmt: skip
        assert tried.returncode == 2, tried.stdout

    @pytest.mark.parametrize("service", ["postgres", "tests"])
    def test_unprivileged(self, up: Copy, service: str) -> None:
        """Both containers have no capability, no way to new ones, a read-only root, and limits where they are needed."""
        model = YAML(typ="safe").load(
            docker("compose", "--file", str(up.root / "compose/test.yaml"), "config")
        )
        described = model["services"][service]
        assert described["cap_drop"] == ["ALL"]
        assert described["read_only"] is True
        assert described["security_opt"] == ["no-new-privileges:true"]
        assert described["network_mode"] == ("none" if service == "postgres" else "service:postgres")
        assert "privileged" not in described
        assert "ports" not in described
        assert "container_name" not in described
        if service == "postgres":
            facts = inspect(up.container(service))
            assert facts["HostConfig"]["ReadonlyRootfs"] is True
            assert facts["HostConfig"]["Memory"] == 2 * 2**30
            status = docker("exec", facts["Id"], "cat", "/proc/1/status")
            assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
            assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
            assert not re.search(r"^Uid:\s+0\b", status, re.MULTILINE)

    def test_in_memory(self, up: Copy) -> None:
        """The data is on a tmpfs."""
        mounts = docker("exec", up.container("postgres"), "cat", "/proc/mounts")
        assert re.search(r"^tmpfs /var/lib/postgresql tmpfs", mounts, re.MULTILINE)


class TestSettings:
    """How the server is tuned."""

    def test_same_as_embedded(self) -> None:
        """The container has the settings of the embedded server, but for those that only one of them can have."""
        command = YAML(typ="safe").load((HERE / "compose/test.yaml").read_text())["services"]["postgres"][
            "command"
        ]
        stack = dict(word.removeprefix("-c").split("=", 1) for word in command[1:])
        alone = {"dynamic_shared_memory_type", "listen_addresses", "unix_socket_permissions"}
        assert stack.pop("listen_addresses") == SETTINGS["listen_addresses"]
        assert stack == {name: value for name, value in SETTINGS.items() if name not in alone}

    def test_in_force(self, up: Copy) -> None:
        """They are in force: they were given when the server started, where a session could not set them."""
        said = docker(
            "exec", up.container("postgres"), "psql", "-U", "postgres", "-tA",
            "-c", "SHOW fsync", "-c", "SHOW full_page_writes", "-c", "SHOW wal_level", "-c", "SHOW jit",
        )  # fmt: skip
        assert said.split() == ["off", "off", "minimal", "off"]

    def test_version_stands_once(self) -> None:
        """The version of PostgreSQL stands in one place of the stacks, and that of Python, too."""
        texts = "".join(path.read_text() for path in sorted((HERE / "compose").glob("*.yaml")))
        assert len(re.findall(r"postgres:\$\{POSTGRES_VERSION", texts)) == 1
        assert set(re.findall(r"POSTGRES_VERSION:-(\d+)", texts)) == {"18"}
        assert len(re.findall(r"python:", (HERE / "compose/Dockerfile").read_text())) == 1


def test_another_image(tmp_path: Path, images: str, offline_images: tuple[str, str]) -> None:
    """`image` in the configuration is the database's, with its own name, whatever `IMAGES` says."""
    _python, postgres = offline_images
    name = "greenroom-offline/with-extensions:18-3.6"
    docker("tag", postgres, name)
    copy = Copy(tmp_path / "another", images)
    copy.edit(
        "pyproject.toml",
        "[tool.greenroom]\n",
        f'[tool.greenroom]\nimage = "{name}"\nextensions = ["citext"]\n',
    )
    try:
        code, said = copy.run("up")
        assert code == 0, said
        assert docker("inspect", "--format", "{{.Config.Image}}", copy.container("postgres")) == name
        code, said = copy.run("psql", "-c", "SELECT extname FROM pg_extension")
        assert "citext" in said, said
    finally:
        copy.run("down")
        docker("image", "rm", name)


@pytest.fixture
def slow(tmp_path: Path, images: str) -> Copy:
    """A checkout whose Postgres takes four seconds to initialise its data, with a temporary server on the socket."""
    copy = Copy(tmp_path / "slow", images)
    files = tmp_path / "init"
    files.mkdir(mode=0o755)
    (files / "wait.sql").write_text("CREATE TABLE begun (); SELECT pg_sleep(4);")
    copy.edit(
        "compose/test.yaml",
        "    tmpfs:\n      - /var/lib/postgresql",
        f"    volumes: ['{files}:/docker-entrypoint-initdb.d:ro']\n    tmpfs:\n      - /var/lib/postgresql",
    )
    return copy


def test_run_is_not_fooled(slow: Copy) -> None:
    """A run that is started beside Postgres waits for the real server: on the temporary one its databases would go away."""
    for command in (("test", "--", "tests"), ("up",)):
        slow.done(*command)
    slow.done("down")
    assert slow.left() == []


def test_health_check_is_not_fooled(images: str, slow: Copy) -> None:
    """While the temporary server initialises the data, which answers on the socket, the health check fails."""
    copy = slow
    project = f"{copy.identity}-test"
    compose = ("docker", "compose", "--project-name", project, "--file", str(copy.root / "compose/test.yaml"))
    probe = inspect_probe(copy)
    try:
        started = run("env", f"IMAGES={images}", *compose, "up", "--detach", "--no-build", "postgres")
        assert started.returncode == 0, started.stdout
        container = docker("ps", "--quiet", f"--filter=label=com.docker.compose.project={project}")
        query = "SELECT count(*) FROM pg_class WHERE relname = 'begun'"
        seen: set[tuple[str, bool]] = set()
        end = time.monotonic() + 60
        while True:
            assert time.monotonic() < end, seen
            on_socket = run(
                "docker", "exec", container, "psql", "-U", "postgres", "-tAc", query
            ).stdout.strip()
            healthy = run("docker", "exec", container, "sh", "-c", probe).returncode == 0
            seen.add((on_socket, healthy))
            if healthy:
                break
        assert ("1", False) in seen  # the temporary server answered, and the check was not taken in
    finally:
        run(*compose, "down", "--volumes", "--timeout", "1")


def test_removed_before_it_is_healthy(images: str) -> None:
    """Who waits for a container that somebody removes meanwhile is told so."""
    with pytest.raises(DockerError, match="postgres was removed before it was healthy"):
        Stack(HERE, "nothing", [TEST_FILE]).wait("postgres")


def inspect_probe(copy: Copy) -> str:
    """The health check as the shell gets it."""
    model = YAML(typ="safe").load((copy.root / "compose/postgres.yaml").read_text())
    return str(model["services"]["postgres"]["healthcheck"]["test"]).replace("$$", "$")


class TestKnownDefects:
    """What went wrong in a Makefile of this kind. The rest of it: TestOneShot.test_passes (a CI run that never ended),
    TestRuns.test_own_stack (a suite that did not start its stack), TestSettings.test_in_force (settings that a session
    cannot set), and test_trouble.py's test_failing_migration (a migration whose failure nobody saw).
    """  # noqa: D205

    def test_files_are_there(self) -> None:
        """Each file that the Makefile, the stacks and the Dockerfile name is in the repository."""
        makefile = (HERE / "Makefile").read_text()
        named = set(re.findall(r"(?<![\w/.])(?:scripts|compose|requirements|\.ci)/[\w./-]*\w", makefile))
        for path in (HERE / "compose").glob("*.yaml"):
            named |= {f"compose/{name}" for name in re.findall(r"\bfile: ([\w.-]+)", path.read_text())}
            named |= set(re.findall(r"dockerfile: (\S+)", path.read_text()))
            named |= {f"compose/{name}" for name in re.findall(r"_[A-Z]+:-(nothing)\}", path.read_text())}
        copied = re.findall(
            r"^COPY (?!--from)(.+) \S+$", (HERE / "compose/Dockerfile").read_text(), re.MULTILINE
        )
        named |= {name for line in copied for name in line.split()}
        assert len(named) > 12
        assert [name for name in sorted(named) if not (HERE / name).exists()] == []

    def test_nothing_sleeps(self) -> None:
        """Readiness is asked for, never slept for."""
        for path in (HERE / "Makefile", *(HERE / "compose").glob("*.yaml"), HERE / "compose/Dockerfile"):
            assert not re.search(r"\bsleep\b", path.read_text()), path
