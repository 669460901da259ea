"""Why a server is not there any more, as its log says it, and what repairs that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from greenroom import hints
from greenroom.errors import ServerError

if TYPE_CHECKING:
    from greenroom.servers.base import Postgres

_LINES: Final = 200

_CAUSES: Final = (
    (
        r"(?:PANIC|FATAL|ERROR): +(.*(?:No space left on device|: wrote only).*)",
        "the disk with its data is full: {0}",
        "free some of it, or set GREENROOM_RUNTIME_DIR to a larger place, then: {down}",
    ),
    (
        r"was terminated by signal 9\b",
        "one of its processes was killed (SIGKILL), by hand or because memory ran out",
        "dmesg | grep -i 'killed process' tells, then: {down}",
    ),
    (r"received (\w+) shutdown request", "it was told to stop ({0} shutdown)", "{up}"),
    (r"PANIC: +(.*)", "{0}", "{down}"),
    (r"was terminated by (signal \d+.*)", "one of its processes was terminated by {0}", "{down}"),
)
"""What the log says, what that means, and what helps."""


def explained(server: Postgres, what: str, error: BaseException) -> ServerError:
    """An error that says what has become of the server.

    Args:
        server: The server.
        what: What is wrong, as the beginning of the sentence.
        error: What a connection to it said.
    """
    said, hint = " ".join(str(error).split()), hints.typed("greenroom up")
    log = (server.log(_LINES) or "").rpartition("starting PostgreSQL")[2]
    log += f"\nERROR: {said}"  # a full disk may have no room for it in the log
    for pattern, text, helps in _CAUSES:
        if found := re.findall(pattern, log):
            said = text.format(found[-1].strip())
            hint = helps.format(down=hints.typed("greenroom down"), up=hint)
            break
    return ServerError(f"{what} ({server.where}): {said.rstrip('.')}.", hint=hint)
