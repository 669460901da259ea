"""When Docker cannot do it: one message with the cause and the command that helps, and `auto` does without."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from greenroom.docker.images import Images
from tests.docker.stacks import Copy

NOWHERE = "unix:///nowhere/docker.sock"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A checkout, whose images nobody has."""
    return Copy(tmp_path / "service", "nowhere.invalid/")


def pretend(folder: Path, *says: str, code: int = 1) -> str:
    """A PATH on which docker says this, for all that it is asked to do to a stack or an image."""
    folder.mkdir()
    program = folder / "docker"
    lines = "\n".join(f"echo {line!r} >&2" for line in says)
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "context*) echo unix:///var/run/docker.sock; exit ;;\n"
        "version*) echo 28.0; exit ;;\n"
        "*compose*version*) echo 2.40.0; exit ;;\n"
        '*config*) echo \'{"services": {"postgres": {"image": "postgres:18"}}}\'; exit ;;\n'
        "image*ls*) echo 0123456789ab; exit ;;\n"
        "*ps*|*ls*) exit ;;\n"
        f"esac\n{lines}\nexit {code}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:{os.environ['PATH']}"


class TestNoDaemon:
    """A client without a daemon."""

    def test_asked_for(self, copy: Copy) -> None:
        """ENGINE=docker fails at once, with the reason and what does without it."""
        for command in (("up",), ("test", "--", "tests"), ("ci", "--", "tests")):
            code, said = copy.run(*command, DOCKER_HOST=NOWHERE)
            assert code == 2
            assert "Engine docker was asked for, but no Docker daemon answers" in said
            assert "Traceback" not in said

    def test_auto(self, copy: Copy) -> None:
        """Otherwise the embedded engine does it, and the first line says why."""
        said = copy.done("up", GREENROOM_ENGINE="auto", DOCKER_HOST=NOWHERE)
        try:
            assert said.startswith("greenroom: engine embedded (")
            assert "docker: no Docker daemon answers" in said.splitlines()[0]
            # From now on it is the one that is up, whatever else there is.
            assert "engine embedded (already running)" in copy.done("up", GREENROOM_ENGINE="auto")
        finally:
            copy.done("down")

    def test_no_client(self, copy: Copy, tmp_path: Path) -> None:
        """Without a docker command it is the same."""
        (tmp_path / "bin").mkdir()
        code, said = copy.run("up", PATH=str(tmp_path / "bin"))
        assert code == 2
        assert "the docker command is not installed" in said

    def test_far_away(self, copy: Copy) -> None:
        """A daemon on another machine cannot mount this folder, and is not asked to."""
        code, said = copy.run("up", DOCKER_HOST="tcp://192.0.2.1:2375")
        assert code == 2
        assert "the daemon is not on this machine (tcp://192.0.2.1:2375)" in said

    def test_application(self, copy: Copy) -> None:
        """The application's own stack needs Docker, and says so."""
        code, said = copy.run("app", "up", DOCKER_HOST=NOWHERE)
        assert code == 2
        assert "This needs Docker, but no Docker daemon answers" in said


@pytest.mark.docker
@pytest.mark.usefixtures("daemon")
class TestNoImages:
    """A daemon, and no way to the images."""

    def test_asked_for(self, copy: Copy) -> None:
        """ENGINE=docker fails with the image's name and what helps."""
        code, said = copy.run("test", "--", "tests")
        assert code == 2
        assert "nowhere.invalid/postgres:18 cannot be pulled: the image registry cannot be reached" in said
        assert "make offline-images" in said
        assert copy.left() == []

    def test_auto(self, copy: Copy) -> None:
        """Otherwise the embedded engine does it; the next runs remember that, instead of trying again and again."""
        code, said = copy.test(GREENROOM_ENGINE="auto")
        assert code == 0, said
        assert "engine embedded (" in said
        code, said = copy.test(GREENROOM_ENGINE="auto")
        assert code == 0, said
        first = said.splitlines()[0]
        assert first.startswith("greenroom: engine embedded (")
        assert "docker: nowhere.invalid/postgres:18 cannot be pulled" in first
        assert "make images tries again" in first
        assert "pulling" not in said

    @pytest.mark.parametrize(("hours", "believed"), [(0.5, True), (2, False), (-43800, False)])
    def test_remembered_for_an_hour(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float, believed: bool
    ) -> None:
        """A failure is believed for an hour; not one of the future, which a clock has left that was put back."""
        monkeypatch.setattr(Images, "missing", lambda _: ["postgres"])
        failure = tmp_path / ".greenroom/images-failed.json"
        failure.parent.mkdir()
        failure.write_text(json.dumps({"images": ["postgres"], "why": "no registry"}))
        then = time.time() - 3600 * hours
        os.utime(failure, (then, then))
        assert (Images(tmp_path, "postgres", "tests").failed_lately() is not None) == believed

    def test_stand_ins_are_never_silent(self, copy: Copy) -> None:
        """The stand-ins are used where they are named, and only there: another name for them is never tried."""
        _code, said = copy.run("up", IMAGES="nowhere.invalid/")
        assert "greenroom-offline" not in said
        code, said = copy.run("up", IMAGES="greenroom-offline/", POSTGRES_VERSION="9")
        assert code == 2
        assert "greenroom-offline/postgres:9 is not built" in said


@pytest.mark.docker
class TestUnhealthy:
    """A stack that does not get up."""

    def test_wrong_setting(self, tmp_path: Path, images: str) -> None:
        """The message has the end of the container's log, and the stack is removed."""
        copy = Copy(tmp_path / "service", images)
        copy.edit("compose/test.yaml", "-cfsync=off", "-cfsink=off")
        code, said = copy.run("up")
        assert code == 2
        assert "postgres ended with exit code" in said
        assert 'unrecognized configuration parameter "fsink"' in said
        assert copy.left() == []

    def test_failing_migration(self, tmp_path: Path, images: str) -> None:
        """A migration that fails makes up and a run fail, with its message. In a run it is pytest that says so."""
        copy = Copy(tmp_path / "service", images)
        first = min((copy.root / "app/migrations/versions").glob("*.py"))
        first.write_text(
            first.read_text().replace("def upgrade() -> None:", "def upgrade() -> None:\n    1 / 0")
        )
        try:
            for command, expected in ((("up",), 2), (("ci", "--", "tests"), 1)):
                code, said = copy.run(*command)
                assert code == expected
                assert "ZeroDivisionError" in said
        finally:
            copy.run("down")
        assert copy.left() == []

    def test_not_valid(self, tmp_path: Path, images: str) -> None:
        """A Compose file that is not valid is named, with Compose's own words."""
        copy = Copy(tmp_path / "service", images)
        copy.edit("compose/test.yaml", "    pull_policy: never\n", "    pull_polish: never\n")
        code, said = copy.run("up")
        assert code == 2
        assert "pull_polish" in said
        assert "Traceback" not in said


class TestMessages:
    """Docker's own words, as they were seen, and what is said instead."""

    @pytest.mark.parametrize(
        ("words", "message", "hint"),
        [
            (
                (
                    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
                    "dial unix /var/run/docker.sock: connect: permission denied"
                ),
                "this user may not use the Docker daemon's socket",
                "usermod -aG docker",
            ),
            (
                "Error response from daemon: write /var/lib/docker/tmp/x: no space left on device",
                "the disk that Docker keeps its images and containers on is full",
                "docker system prune",
            ),
            (
                "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))",
                "the build does not trust the certificate of the package index",
                "CA_BUNDLE=",
            ),
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                "no Docker daemon answers",
                "ENGINE=embedded",
            ),
        ],
    )
    def test_explained(self, copy: Copy, tmp_path: Path, words: str, message: str, hint: str) -> None:
        """A message that is known is replaced by what it means and what helps."""
        code, said = copy.run("up", PATH=pretend(tmp_path / "bin", words))
        assert code == 2
        assert message in said
        assert hint in said

    def test_unknown(self, copy: Copy, tmp_path: Path) -> None:
        """Another one is passed on."""
        code, said = copy.run("up", PATH=pretend(tmp_path / "bin", "the daemon sings"))
        assert code == 2
        assert "docker compose up failed: the daemon sings" in said
