"""The stand-ins for the official images behave as those do, in what the stacks use (docs/offline-images.md)."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.docker.conftest import Container, Start, docker

pytestmark = pytest.mark.toolkit

HARDENED = (
    "--read-only",
    "--user=postgres",
    "--network=none",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
    "--tmpfs=/tmp:mode=1777",
)
"""The options of compose/postgres.yaml."""

IN_MEMORY = ("--tmpfs=/var/lib/postgresql:mode=1777", "--tmpfs=/var/run/postgresql:mode=1777")

QUICK = "--no-sync --encoding=UTF8 --locale=C.UTF-8"

TRUST = {"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_INITDB_ARGS": QUICK}


class Postgres:
    """Starts the stand-in for Postgres.

    Args:
        image: Its name.
        start: Starts a container.
    """

    def __init__(self, image: str, start: Start) -> None:
        self.image = image
        self.major = int(image.rpartition(":")[2])
        self._start = start

    def container(
        self, *options: str, command: Sequence[str] = (), environment: Mapping[str, str] = TRUST
    ) -> Container:
        """A container as compose/postgres.yaml has it, whatever becomes of it."""
        variables = {"PGDATA": f"/var/lib/postgresql/greenroom-{self.major}", **environment}
        return self._start(*HARDENED, *options, image=self.image, command=command, environment=variables)

    def __call__(
        self, *options: str, command: Sequence[str] = (), environment: Mapping[str, str] = TRUST
    ) -> Container:
        """A container as the test stack has it, which takes connections."""
        container = self.container(*IN_MEMORY, *options, command=command, environment=environment)
        container.wait_until_ready()
        return container

    def plain(
        self, *options: str, command: Sequence[str] = (), environment: Mapping[str, str] = TRUST
    ) -> Container:
        """A container that is started by hand: as root, with the image's own settings."""
        return self._start(
            "--network=none", *options, image=self.image, command=command, environment=environment
        )


@pytest.fixture
def postgres(offline_images: tuple[str, str], start: Start) -> Postgres:
    """Starts the stand-in for Postgres."""
    return Postgres(offline_images[1], start)


@pytest.fixture
def init_files(tmp_path: Path) -> Path:
    """The folder that is mounted at /docker-entrypoint-initdb.d."""
    folder = tmp_path / "init"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)  # whatever the umask
    return folder


def mounted(init_files: Path) -> str:
    """The option that mounts the folder, whose files anyone may read."""
    for file in init_files.iterdir():
        file.chmod(file.stat().st_mode | 0o444)
    return f"--volume={init_files}:/docker-entrypoint-initdb.d:ro"


@pytest.mark.docker
class TestHardened:
    """Postgres as the stacks run it: no network, no root, nothing writable but three folders."""

    def test_as_the_stacks_start_it(self, postgres: Postgres) -> None:
        """With a read-only root and no capability, the user postgres has the database in the PGDATA it asked for.

        The entry point is gone: Postgres itself gets the container's signals. Its major version is the one that its tag
        names, and arguments of initdb decide the encoding and the order of strings.
        """
        container = postgres()
        assert container.psql("SHOW data_directory") == f"/var/lib/postgresql/greenroom-{postgres.major}"
        assert container.psql("SELECT current_user, current_database()") == "postgres|postgres"
        assert container.output("id", "-u") == "999"
        assert container.run("touch", "/etc/it").returncode == 1
        assert container.output("cat", "/proc/1/comm") == "postgres"
        assert int(container.psql("SHOW server_version_num")) // 10_000 == postgres.major
        assert container.psql("SELECT 'a' < 'B'") == "f"
        assert container.psql("SHOW server_encoding") == "UTF8"

    def test_another_container(self, postgres: Postgres, start: Start, volume: str) -> None:
        """A container of another user, that has only the volume with the socket, gets in."""
        socket = f"--volume={volume}:/var/run/postgresql"
        server = postgres.container(IN_MEMORY[0], socket)
        server.wait_until_ready()
        client = start(
            *("--network=none", "--cap-drop=ALL", "--user=10001:10001", socket),
            image=postgres.image,
            command=("psql", "-qAt", "-U", "postgres", "-c", "SELECT inet_server_addr() IS NULL"),
        )
        assert client.wait() == 0, client.logs()
        assert client.logs() == "t"

    @pytest.mark.parametrize("signal", ["stop", "kill"])
    def test_stops(self, postgres: Postgres, signal: str) -> None:
        """It stops cleanly within two seconds, on docker stop and on SIGINT, though a client is connected."""
        container = postgres()
        docker("exec", "--detach", container.name, "psql", "-U", "postgres", "-c", "SELECT pg_sleep(60)")
        began = time.monotonic()
        if signal == "stop":
            docker("stop", "--time=10", container.name)
        else:
            docker("kill", "--signal=INT", container.name)
        assert container.wait() == 0
        assert time.monotonic() - began < 2
        assert "database system is shut down" in container.logs().splitlines()[-1]


@pytest.mark.docker
class TestSettings:
    """The environment and the arguments that the official image knows."""

    def test_user_and_database(self, postgres: Postgres) -> None:
        """POSTGRES_USER is the superuser, and POSTGRES_DB is there and theirs, whatever characters they have."""
        container = postgres(environment={**TRUST, "POSTGRES_USER": "Ada L.", "POSTGRES_DB": 'the "books"'})
        assert (
            container.psql("SELECT current_user, current_database()", "-d", 'the "books"')
            == 'Ada L.|the "books"'
        )
        assert container.psql("SHOW is_superuser", "-d", "postgres") == "on"

    def test_database_named_after_the_user(self, postgres: Postgres) -> None:
        """Without POSTGRES_DB the first database has the superuser's name."""
        container = postgres(environment={**TRUST, "POSTGRES_USER": "ada"})
        assert container.psql("SELECT current_database()") == "ada"

    def test_password(self, postgres: Postgres) -> None:
        """POSTGRES_PASSWORD lets in over TCP, another one does not."""
        container = postgres(
            environment={
                "POSTGRES_PASSWORD": "correct horse",
                "POSTGRES_INITDB_ARGS": f"{QUICK} --auth-host=scram-sha-256",
            }
        )
        url = "host=127.0.0.1 user=postgres password='{}'"
        assert container.output("psql", "-qAt", url.format("correct horse"), "-c", "SELECT 1") == "1"
        refused = container.run("psql", url.format("battery staple"), "-c", "SELECT 1")
        assert refused.returncode == 2
        assert "password authentication failed" in refused.stdout

    def test_password_from_a_file(self, postgres: Postgres, tmp_path: Path) -> None:
        """POSTGRES_PASSWORD_FILE is read, and its final newline is none of the password."""
        secret = tmp_path / "secret"
        secret.write_text("correct horse\n")
        secret.chmod(0o644)
        container = postgres(
            f"--volume={secret}:/run/secrets/password:ro",
            environment={
                "POSTGRES_PASSWORD_FILE": "/run/secrets/password",
                "POSTGRES_INITDB_ARGS": f"{QUICK} --auth=scram-sha-256",
            },
        )
        url = "host=127.0.0.1 user=postgres password='correct horse'"
        assert container.output("psql", "-qAt", url, "-c", "SELECT 1") == "1"

    @pytest.mark.parametrize(
        ("environment", "method"), [({"POSTGRES_PASSWORD": "it"}, "scram-sha-256"), (TRUST, "trust")]
    )
    def test_beyond_the_loopback(self, postgres: Postgres, environment: dict[str, str], method: str) -> None:
        """Other machines need a password, unless everybody is trusted."""
        container = postgres(environment=environment)
        rules = container.psql("SELECT auth_method FROM pg_hba_file_rules WHERE address = 'all'")
        assert rules == method

    def test_arguments(self, postgres: Postgres) -> None:
        """The command's arguments are the server's, with and without its name."""
        for command in (("postgres", "-cjit=off", "-c", "max_connections=7"), ("-c", "max_connections=7")):
            assert postgres(command=command).psql("SHOW max_connections") == "7"

    def test_another_socket(self, postgres: Postgres, init_files: Path) -> None:
        """A server whose socket is elsewhere is initialised through that socket."""
        (init_files / "it.sql").write_text("CREATE TABLE it ()")
        command = ("-c", "unix_socket_directories=/tmp/,/var/run/postgresql")
        container = postgres(mounted(init_files), command=command)
        assert container.psql("SELECT count(*) FROM it", "-h", "/tmp") == "0"

    @pytest.mark.parametrize("environment", [{}, {"POSTGRES_PASSWORD": ""}])
    def test_no_password(self, postgres: Postgres, environment: dict[str, str]) -> None:
        """Without a password and without trust, a new data directory is refused, and the message says why."""
        container = postgres.container(*IN_MEMORY, environment=environment)
        assert container.wait() == 1
        said = container.logs()
        assert "the superuser has no password" in said
        assert "POSTGRES_PASSWORD" in said
        assert "POSTGRES_HOST_AUTH_METHOD=trust" in said

    def test_help(self, postgres: Postgres) -> None:
        """An option that only prints something needs neither password nor data directory."""
        container = postgres.plain(command=("--version",))
        assert container.wait() == 0
        assert container.logs().startswith(f"postgres (PostgreSQL) {postgres.major}.")

    def test_another_command(self, postgres: Postgres) -> None:
        """Any other command is run as it is."""
        container = postgres.plain(command=("echo", "it"))
        assert container.wait() == 0
        assert container.logs() == "it"


@pytest.mark.docker
class TestDataDirectory:
    """What a new data directory gets, and what happens to an old one."""

    def test_init_files(self, postgres: Postgres, init_files: Path) -> None:
        """Scripts, SQL and packed SQL are run in their order, in the new database; other files are left alone."""
        script = 'psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c'
        (init_files / "1.sql").write_text("CREATE TABLE step (name text, number serial)")
        (init_files / "2.sh").write_text(
            f"""#!/bin/bash\n{script} "INSERT INTO step VALUES ('executed')"\n"""
        )
        (init_files / "2.sh").chmod(0o755)
        (init_files / "3.sh").write_text(
            f"""test -z "$UNSET"; {script} "INSERT INTO step VALUES ('sourced')"\n"""
        )
        (init_files / "4.sql.gz").write_bytes(gzip.compress(b"INSERT INTO step VALUES ('unpacked')"))
        (init_files / "README").write_text("none of these")
        container = postgres(
            mounted(init_files), environment={**TRUST, "POSTGRES_USER": "ada", "POSTGRES_DB": "books"}
        )
        names = container.psql("SELECT name FROM step ORDER BY number", "-d", "books")
        assert names.splitlines() == ["executed", "sourced", "unpacked"]
        assert "ignoring /docker-entrypoint-initdb.d/README" in container.logs()

    def test_no_tcp_before_it_is_ready(self, postgres: Postgres, init_files: Path) -> None:
        """While the init files run, the server listens on its socket only."""
        script = "pg_isready -h 127.0.0.1 || psql -U postgres -c 'CREATE TABLE closed ()'"
        (init_files / "it.sh").write_text(script)
        container = postgres(mounted(init_files))
        assert container.psql("SELECT to_regclass('closed')") == "closed"

    @pytest.mark.parametrize(
        ("name", "text"), [("it.sql", "SELECT 1/0"), ("it.sh", "false"), ("it.sql.xz", "")]
    )
    def test_failing_init_file(self, postgres: Postgres, init_files: Path, name: str, text: str) -> None:
        """An init file that fails, or cannot be unpacked, ends the container with an error."""
        (init_files / name).write_text(text)
        container = postgres.container(*IN_MEMORY, mounted(init_files))
        assert container.wait() != 0
        assert f"/docker-entrypoint-initdb.d/{name}" in container.logs()

    def test_again(self, postgres: Postgres, volume: str, init_files: Path) -> None:
        """A data directory that is there is left as it is: no password is asked for, no init file is run."""
        data = f"--volume={volume}:/var/lib/postgresql"
        first = postgres.container(data, IN_MEMORY[1])
        first.wait_until_ready()
        first.psql("CREATE TABLE it ()")
        docker("stop", first.name)
        (init_files / "it.sql").write_text("DROP TABLE it")
        second = postgres.container(data, IN_MEMORY[1], mounted(init_files), environment={})
        second.wait_until_ready()
        assert second.psql("SELECT count(*) FROM it") == "0"

    def test_made_by_another_image(self, postgres: Postgres, volume: str) -> None:
        """The socket is at the same place for a data directory whose files do not say where."""
        data = f"--volume={volume}:/var/lib/postgresql"
        container = postgres.container(data, IN_MEMORY[1])
        container.wait_until_ready()
        settings = container.output(
            "grep", "-h", "unix_socket_directories", "-r", "/var/lib/postgresql/", "--include=*.conf"
        )
        assert all(line.startswith("#") for line in settings.splitlines())
        assert container.psql("SELECT 1", "-h", "/var/run/postgresql") == "1"


@pytest.mark.docker
class TestByHand:
    """Postgres as `docker run` starts it: as root, with the image's own settings."""

    def test_as_root(self, postgres: Postgres) -> None:
        """It becomes the user postgres before it touches the data, which lies where the official image has it."""
        container = postgres.plain()
        container.wait_until_ready()
        expected = f"{postgres.major}/docker" if postgres.major >= 18 else "data"
        assert container.psql("SHOW data_directory") == f"/var/lib/postgresql/{expected}"
        status = container.output("cat", "/proc/1/status").splitlines()
        assert "Uid:\t999\t999\t999\t999" in status
        assert "Gid:\t999\t999\t999\t999" in status
        assert [line.split()[1] for line in status if line.startswith("CapEff")] == ["0" * 16]

    def test_folder_of_root(self, postgres: Postgres) -> None:
        """A folder that belongs to root is given to postgres, when it is PGDATA."""
        container = postgres.plain("--tmpfs=/it:mode=700,uid=0", environment={**TRUST, "PGDATA": "/it/data"})
        assert container.wait() != 0  # the parent stays root's
        container = postgres.plain("--tmpfs=/it:mode=700,uid=0", environment={**TRUST, "PGDATA": "/it"})
        container.wait_until_ready()
        assert container.output("stat", "--format=%U %a", "/it") == "postgres 700"

    def test_old_place(self, postgres: Postgres) -> None:
        """From 18 on, a mount at the place of the versions before is refused."""
        if postgres.major < 18:
            pytest.skip("this is the old place's own version")
        container = postgres.plain("--tmpfs=/var/lib/postgresql/data")
        assert container.wait() == 1
        assert "Found: something mounted at /var/lib/postgresql/data." in container.logs()

    def test_unknown_user(self, postgres: Postgres) -> None:
        """A user that the image does not know is told which ones it knows."""
        container = postgres.plain(
            "--user=4711", "--tmpfs=/it:mode=1777", environment={**TRUST, "PGDATA": "/it/data"}
        )
        assert container.wait() == 1
        assert "--user postgres" in container.logs()

    def test_locale(self, postgres: Postgres) -> None:
        """Without arguments of initdb, databases are UTF-8 and ordered as in the official image."""
        container = postgres.plain(environment={"POSTGRES_PASSWORD": "it"})
        container.wait_until_ready()
        query = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'postgres'"
        assert container.psql(query) == "UTF8|en_US.utf8"

    def test_listens_everywhere(self, postgres: Postgres) -> None:
        """Without arguments, it listens on all addresses, and on the socket that psql looks for."""
        container = postgres.plain()
        container.wait_until_ready()
        assert container.psql("SHOW listen_addresses") == "*"
        assert container.psql("SHOW unix_socket_directories") == "/var/run/postgresql"

    def test_settings_of_the_image(self, postgres: Postgres) -> None:
        """Signal, port, volume, command and the folders' owners are the official image's."""
        config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", postgres.image))
        assert config["StopSignal"] == "SIGINT"
        assert config["ExposedPorts"] == {"5432/tcp": {}}
        volume = "/var/lib/postgresql" if postgres.major >= 18 else "/var/lib/postgresql/data"
        assert config["Volumes"] == {volume: {}}
        assert config["Cmd"] == ["postgres"]
        command = ("stat", "--format=%a %u %g %n", "/var/lib/postgresql", "/var/run/postgresql/")
        container = postgres.plain(command=command)
        assert container.wait() == 0
        assert container.logs().splitlines() == [
            "1777 999 999 /var/lib/postgresql",
            "3777 999 999 /var/run/postgresql/",
        ]


@pytest.mark.docker
class TestPython:
    """The stand-in for Python."""

    def test_venv(self, offline_images: tuple[str, str], start: Start) -> None:
        """It makes a venv with pip, as any user, on a read-only root."""
        image = offline_images[0]
        script = "python -m venv /tmp/venv && /tmp/venv/bin/pip --version && /tmp/venv/bin/python --version"
        container = start(
            *("--read-only", "--network=none", "--user=10001:10001", "--tmpfs=/tmp:exec"),
            image=image,
            command=("sh", "-c", script),
        )
        assert container.wait() == 0, container.logs()
        pip, version = container.logs().splitlines()
        assert pip.startswith("pip ")
        wanted = image.rpartition(":")[2].removesuffix("-slim")
        assert version.startswith(f"Python {wanted}.")

    @pytest.mark.parametrize("name", ["python", "python3"])
    def test_modules(self, offline_images: tuple[str, str], start: Start, name: str) -> None:
        """Under both names, it has SQLite, TLS with certificates, time zones and UTF-8."""
        code = """if True:
            import sqlite3, ssl, sys, zoneinfo
            assert ssl.create_default_context().cert_store_stats()["x509_ca"] > 50
            assert zoneinfo.ZoneInfo("Europe/Paris")
            assert sys.getfilesystemencoding() == sys.stdout.encoding == "utf-8"
        """
        container = start("--network=none", image=offline_images[0], command=(name, "-c", code))
        assert container.wait() == 0, container.logs()

    def test_small(self, offline_images: tuple[str, str], start: Start) -> None:
        """There is no compiler, no package list, and no trace of where the packages came from."""
        script = """
            ! command -v cc gcc &&
            ! find /var/lib/apt/lists -type f -size +0 | grep . &&
            ! grep -rE 'https?:' /etc/apt
        """
        container = start("--network=none", image=offline_images[0], command=("sh", "-c", script))
        assert container.wait() == 0, container.logs()
