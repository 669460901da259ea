"""Docker's command line, bounded in time, and what its errors mean."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from greenroom.errors import ServerError
from greenroom.processes import captured

QUICK: Final = 10
"""Seconds for a question to the daemon; it answers in a tenth of one."""

OLDEST_COMPOSE: Final = (2, 20)
"""Docker Compose from July 2023: the first with all that compose/ uses."""


class DockerError(ServerError):
    """Docker cannot do what it was asked to, for a reason that the user can mend."""


def ask(*arguments: str, seconds: float = QUICK, environ: Mapping[str, str] | None = None) -> str:
    """What a docker command prints.

    Args:
        arguments: The words after `docker`.
        seconds: How long it may take.
        environ: Variables in addition to this process's.

    Raises:
        DockerError: There is no docker, or the command failed or took too long.
    """
    command = ["docker", *arguments]
    try:
        result = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise DockerError("there is no docker command", hint="install Docker Engine") from None
    except subprocess.TimeoutExpired:
        raise DockerError(f"docker {arguments[0]} did not end within {seconds:g} s") from None
    except subprocess.CalledProcessError as error:
        raise explained(arguments, error.stderr or error.stdout) from None
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
        DockerError: It took too long.
    """
    try:
        return captured(command, environment(environ), seconds=seconds)
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
    """Why Docker cannot be used here, or None if it can. Changes nothing, and takes a quarter of a second."""
    if shutil.which("docker") is None:
        return "there is no docker command"
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
    """Whether the daemon runs as an ordinary user, who is then root in each container."""
    return "name=rootless" in ask("info", "--format", "{{.SecurityOptions}}")


def explained(arguments: Iterable[str], output: str) -> DockerError:
    """The error of a docker command that failed, with its cause and what helps."""
    for pattern, message, hint in _KNOWN:
        if found := re.search(pattern, output, re.IGNORECASE):
            return DockerError(message.format(*found.groups()), hint=hint)
    said = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    words = " ".join(word for word in arguments if not word.startswith("-"))
    return DockerError(f"docker {words[:80]} failed: {' / '.join(said[-3:])}")


_WITHOUT = "ENGINE=embedded does without Docker"

_KNOWN: Final = (
    (
        r"permission denied.*?(?:docker daemon socket|docker API|connect).*?((?:unix://)?/[\w./-]+\.sock)?",
        "this user may not use the Docker daemon's socket",
        'sudo usermod -aG docker "$USER", then log in again; ' + _WITHOUT,
    ),
    (
        (
            r"cannot connect to the docker daemon(?: at (\S+?)\.? Is)?|docker daemon is not running|"
            r"error during connect|failed to connect to the docker API"
        ),
        "no Docker daemon answers",
        "start Docker; " + _WITHOUT,
    ),
    (
        r"no space left on device",
        "the disk that Docker keeps its images and containers on is full",
        "docker system df shows what takes the room, docker system prune makes some",
    ),
    (
        r"is not a docker command|unknown command: docker compose|unknown shorthand flag",
        "Docker has no Compose plugin",
        "install docker-compose-plugin (of Docker's own packages) or docker-compose 2 (of Debian's)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|confirming the ssl certificate",
        "the build does not trust the certificate of the package index; a proxy may be inspecting TLS",
        "CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt, or wherever this machine has the proxy's; " + _WITHOUT,
    ),
    (
        r"No matching distribution found|Could not find a version that satisfies",
        "the build cannot reach the package index, or that lacks a package of the lock",
        "PIP_CONFIG_FILE=… is pip's configuration for builds, and names an index; " + _WITHOUT,
    ),
    (
        r"toomanyrequests|rate limit",
        "the image registry refuses more downloads for now (its rate limit)",
        "docker login, or IMAGES=… for a mirror's address, or " + _WITHOUT,
    ),
    (
        (
            r"(manifest (?:for \S+ )?(?:unknown|not found)|pull access denied|repository does not exist|"
            r"(?:^|\s)\S+: not found)"
        ),
        "there is no such image in the registry: {0}",
        "IMAGES, POSTGRES_VERSION and PYTHON_VERSION say which one is taken",
    ),
    (
        (
            r"dial tcp:? lookup (\S+)|(?:no such host|i/o timeout|connection refused|TLS handshake timeout|"
            r"context deadline exceeded|network is unreachable|x509: )"
        ),
        "the image registry cannot be reached",
        "make offline-images builds stand-ins, to be used with IMAGES=offline; " + _WITHOUT,
    ),
)
