"""The images that the test stack needs: their names, whether they exist, and how to obtain them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from greenroom import hints
from greenroom.docker import client
from greenroom.docker.client import DockerError, ask
from greenroom.output import Say, timed

if TYPE_CHECKING:
    from greenroom.config import Config

TEST_FILE: Final = "compose/test.yaml"
CI_FILE: Final = "compose/ci.yaml"

OFFLINE: Final = "greenroom-offline/"
"""The prefix of the stand-ins that `make offline-images` builds. No registry has images of these names."""

SHORT: Final = 60
"""Seconds that `engine = "auto"` waits for an image from a registry before it gives Docker up."""

PATIENT: Final = 1800
"""Seconds to wait for an image if the configuration asks for Docker, and for a build."""

FORGET: Final = 3600
"""Seconds that `engine = "auto"` remembers that an image was not available, instead of trying in each run."""

KEPT: Final = 8
"""How many suite images are kept for all checkouts: one for each branch that somebody may be working on."""

_TESTS: Final = "greenroom-tests"

_INPUTS: Final = (
    "compose", "requirements", "pyproject.toml", "uv.lock", "poetry.lock", "pdm.lock", "Pipfile", "Pipfile.lock",
    "*requirements*.txt",
)  # fmt: skip
"""The inputs of the image `tests`. The sources are mounted, so they are not among these."""


@dataclasses.dataclass(frozen=True)
class Images:
    """The images of a checkout's test stack.

    Attributes:
        root: The checkout.
        postgres: The database's, from a registry.
        tests: What the suite runs in, built here. Named by a hash of what it is made from, so that it is built when
            that changes, never else, and once for all checkouts that have the same.
    """

    root: Path
    postgres: str
    tests: str

    @classmethod
    def of(cls, config: Config) -> Images:
        """Return the images that the Compose files, the configuration and the environment name.

        Raises:
            DockerError: The files are not valid.
        """
        return cls._of(config.root, tuple(chosen(config).items()))

    @classmethod
    @functools.cache
    def _of(cls, root: Path, chosen: tuple[tuple[str, str], ...]) -> Images:
        # Compose takes a tenth of a second for this.
        tests = _name(root)
        model = json.loads(
            ask(
                "compose", "--file", str(root / TEST_FILE), "--env-file", os.devnull, "config", "--format", "json",
                environ={"GREENROOM_TESTS_IMAGE": tests, **dict(chosen)},
            )
        )  # fmt: skip
        return cls(root, model["services"]["postgres"]["image"], tests)

    def missing(self) -> list[str]:
        """Return the images that are not on this machine."""
        return [name for name in (self.postgres, self.tests) if not there(name)]

    def obtain(self, say: Say, *, patient: bool) -> None:
        """Obtain all images: pull those that come from a registry, build the rest.

        Args:
            say: Takes progress.
            patient: Wait as long as it takes, and try although it failed a while ago.

        Raises:
            DockerError: One is not available.
        """
        missing = self.missing()
        try:
            if self.postgres in missing:
                pull(self.postgres, say, PATIENT if patient else SHORT)
            if self.tests in missing:
                self.build(say)
        except DockerError as error:
            self._failure.parent.mkdir(parents=True, exist_ok=True)
            self._failure.write_text(json.dumps({"images": missing, "why": error.message}), encoding="utf-8")
            raise
        self._failure.unlink(missing_ok=True)

    def build(self, say: Say) -> None:
        """Build the image of the suite from the lock."""
        with timed(say, f"building {self.tests}, which the lock and {TEST_FILE} describe", "built"):
            words = [
                "docker", "compose", "--file", str(self.root / TEST_FILE), "--env-file", os.devnull,
                "--progress", "plain", "build", "tests",
            ]  # fmt: skip
            built = client.done(words, environ={"GREENROOM_TESTS_IMAGE": self.tests}, seconds=PATIENT)
            if built.returncode:
                raise client.explained(["compose", "build", "tests"], built.stdout + built.stderr)
        _prune(self.tests)

    def failed_lately(self) -> str | None:
        """Return why the images were not available a short time ago, if that still counts, or None."""
        try:
            age = time.time() - self._failure.stat().st_mtime
            told = json.loads(self._failure.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        # A clock that was put back makes it a failure of the future, which would be believed until then.
        if abs(age) > FORGET or told["images"] != self.missing():
            return None
        return f"{told['why']} (tried {age / 60:.0f} min ago; {hints.typed('greenroom images')} tries again)"

    @property
    def _failure(self) -> Path:
        return self.root / ".greenroom" / "images-failed.json"


def chosen(config: Config) -> dict[str, str]:
    """The variables with which Compose takes the image, or the version, that the configuration names."""
    variables = {"GREENROOM_POSTGRES_IMAGE": config.image}
    # Whoever sets it for one command means it.
    if config.postgres and not os.environ.get("POSTGRES_VERSION"):
        variables["POSTGRES_VERSION"] = config.postgres
    return variables


def there(image: str) -> bool:
    """Return whether an image is on this machine."""
    return bool(ask("image", "ls", "--quiet", image))


def pull(image: str, say: Say, seconds: float) -> None:
    """Fetch an image from its registry.

    Args:
        image: Its name and tag.
        say: Takes progress.
        seconds: How long it may take.

    Raises:
        DockerError: It is not available, or not in time.
    """
    if image.startswith(OFFLINE):
        raise DockerError(f"{image} is not built", hint=hints.without_registry())
    with timed(say, f"pulling {image}, for at most {seconds:g} s", "pulled"):
        try:
            ask("pull", "--quiet", image, seconds=seconds)
        except DockerError as error:
            raise DockerError(f"{image} cannot be pulled: {error.message}", hint=error.hint) from None


def _prune(own: str) -> None:
    """Remove all but the newest suite images: each change of the lock leaves half a gigabyte.

    Args:
        own: The one that was just built. From the cache, it is as old as its layers.
    """
    names = ask("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", _TESTS).splitlines()
    for name in [each for each in names if each != own][KEPT:]:
        # One that is in use is not removed without force.
        with contextlib.suppress(DockerError):
            ask("image", "rm", name, seconds=60)


def _name(root: Path) -> str:
    digest = hashlib.sha256()
    for name in ("IMAGES", "PYTHON_VERSION"):
        digest.update(f"{name}={os.environ.get(name, '')}\n".encode())
    digest.update(platform.machine().encode())
    for path in (path for pattern in _INPUTS for path in sorted(root.glob(pattern))):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                content = file.read_bytes()
                digest.update(f"{file.relative_to(root)} {len(content)}\n".encode())
                digest.update(content)
    return f"{_TESTS}:{digest.hexdigest()[:12]}"
