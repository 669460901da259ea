"""Docker's command line, bounded in time, and what its errors mean."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from greenroom import hints
from greenroom.errors import ServerError
from greenroom.processes import captured

QUICK: Final = 10
"""Seconds for a quick request to the daemon, which takes a tenth of a second."""

OLDEST_COMPOSE: Final = (2, 20)
"""Docker Compose of July 2023: the first version with everything that compose/ uses."""


class DockerError(ServerError):
    """Docker cannot do what greenroom asked for, and the user can fix the reason."""


def ask(*arguments: str, seconds: float = QUICK, environ: Mapping[str, str] | None = None) -> str:
    """Run a docker command. Returns what it prints.

    Args:
        arguments: The words after `docker`.
        seconds: How long it may take.
        environ: Variables in addition to this process's.

    Raises:
        DockerError: There is no docker, or the command failed or took too long.
    """
    result = done(["docker", *arguments], seconds=seconds, environ=environ)
    if result.returncode:
        raise explained(arguments, result.stderr or result.stdout)
    return result.stdout.strip()


def done(
    command: Sequence[str], *, seconds: float, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a docker command that may fail, and that Ctrl-C lets end in order. Returns what came of it.

    Args:
        command: All its words.
        seconds: How long it may take.
        environ: Variables in addition to this process's.

    Raises:
        DockerError: There is no docker, or it took too long.
    """
    try:
        return captured(command, environment(environ), seconds=seconds)
    except FileNotFoundError:
        raise DockerError("the docker command is not installed", hint="install Docker Engine") from None
    except subprocess.TimeoutExpired:
        raise DockerError(f"{' '.join(command)[:80]} … did not end within {seconds:g} s") from None


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a docker command: this process's, without what would point Compose at other files.

    Also a user's COMPOSE_FILE or COMPOSE_PROJECT_NAME, which mean another project.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    for name in ("CA_BUNDLE", "PIP_CONFIG_FILE"):
        if kept.get(name):
            # Compose takes a path as relative to the file that it stands in.
            kept[name] = str(Path(kept[name]).absolute())
            if not Path(kept[name]).is_file():
                raise DockerError(f"{name} must name a file. Found: {kept[name]}")
    return kept | {"DOCKER_CLI_HINTS": "false", "DOCKER_BUILDKIT": "1"} | dict(extra or {})


def why_not() -> str | None:
    """Return why Docker cannot be used here, or None if it can. Changes nothing, and takes a quarter of a second."""
    if shutil.which("docker") is None:
        return "the docker command is not installed"
    try:
        # The context decides where the daemon is, unless the environment does.
        host = os.environ.get("DOCKER_HOST") or ask(
            "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"
        )
        if not host.startswith(("unix://", "npipe://")):
            return f"the daemon is not on this machine ({host}), and the stack mounts this folder"
        ask("version", "--format", "{{.Server.Version}}")
        compose = ask("compose", "version", "--short")
    except DockerError as error:
        return error.message
    found = tuple(map(int, re.findall(r"\d+", compose)[:2]))
    if found < OLDEST_COMPOSE:
        return f"Docker Compose {compose} is older than {'.'.join(map(str, OLDEST_COMPOSE))}"
    return None


def rootless() -> bool:
    """Return whether the daemon runs as an ordinary user, who is then root in each container."""
    return "name=rootless" in ask("info", "--format", "{{.SecurityOptions}}")


def explained(arguments: Iterable[str], output: str) -> DockerError:
    """Return the error for a docker command that failed, with its cause and a hint."""
    for pattern, message, hint in _KNOWN:
        if found := re.search(pattern, output, re.IGNORECASE):
            return DockerError(
                message.format(*found.groups()),
                hint=hint.format(without=hints.without_docker(), offline=hints.without_registry()),
            )
    said = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    words = " ".join(word for word in arguments if not word.startswith("-"))
    return DockerError(f"docker {words[:80]} failed: {' / '.join(said[-3:])}")


_KNOWN: Final = (
    (
        r"permission denied.*?(?:docker daemon socket|docker API|connect).*?((?:unix://)?/[\w./-]+\.sock)?",
        "this user may not use the Docker daemon's socket",
        'sudo usermod -aG docker "$USER", then log in again; {without}',
    ),
    (
        (
            r"cannot connect to the docker daemon(?: at (\S+?)\.? Is)?|docker daemon is not running|"
            r"error during connect|failed to connect to the docker API"
        ),
        "no Docker daemon answers",
        "start Docker; {without}",
    ),
    (
        r"no space left on device",
        "the disk that Docker keeps its images and containers on is full",
        "docker system df shows what uses the space, docker system prune frees some",
    ),
    (
        r"is not a docker command|unknown command: docker compose|unknown shorthand flag",
        "Docker has no Compose plugin",
        "install docker-compose-plugin (of Docker's own packages) or docker-compose 2 (of Debian's)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|confirming the ssl certificate",
        "the build does not trust the certificate of the package index; a proxy may be inspecting TLS",
        "set CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt, or another file with the proxy's certificate; {without}",
    ),
    (
        r"No matching distribution found|Could not find a version that satisfies",
        "the build cannot reach the package index, or the index lacks a locked package",
        "set PIP_CONFIG_FILE=… to a pip configuration that names an index; {without}",
    ),
    (
        r"toomanyrequests|rate limit",
        "the image registry refuses more downloads for now, because of its rate limit",
        "run docker login, or set IMAGES=… to a mirror's address; {without}",
    ),
    (
        (
            r"(manifest (?:for \S+ )?(?:unknown|not found)|pull access denied|repository does not exist|"
            r"(?:^|\s)\S+: not found)"
        ),
        "the registry does not have this image: {0}",
        "IMAGES, POSTGRES_VERSION and PYTHON_VERSION select the image",
    ),
    (
        (
            r"dial tcp:? lookup (\S+)|(?:no such host|i/o timeout|connection refused|TLS handshake timeout|"
            r"context deadline exceeded|network is unreachable|x509: )"
        ),
        "the image registry cannot be reached",
        "{offline}; {without}",
    ),
)
