"""Statements of the project's that only the admin may execute, and has executed already: they are let pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from greenroom.config import Config

_CREATE_ROLE: Final = re.compile(r'\s*CREATE\s+(?:ROLE|USER)\s+"?(\w+)"?[^;]*;?\s*\Z', re.IGNORECASE)

_EXTENSION: Final = re.compile(
    r"(?:CREATE\s+EXTENSION(?:\s+IF\s+NOT\s+EXISTS)?|DROP\s+EXTENSION(?:\s+IF\s+EXISTS)?|(?:ALTER|COMMENT\s+ON)\s+EXTENSION)"
    r"""\s+"?([\w-]+)"?(?=[\s;]|\Z)[^;]*""",
    re.IGNORECASE,
)


def skipping(config: Config) -> Callable[..., tuple[str, Any]]:
    """A listener to `before_cursor_execute` for what is there: the roles of `roles`, and the extensions of `extensions`."""

    def skip(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        found = _CREATE_ROLE.match(statement)
        if found is not None and found[1].lower() in config.roles:
            return "SELECT 'the role is there'", ()
        found = _EXTENSION.fullmatch(statement.strip().rstrip(";").rstrip())
        if found is not None and found[1] in config.extension_names:
            return "SELECT 'the extension is there'", ()
        return statement, parameters

    return skip


def without(config: Config, script: str) -> str:
    """A script without its statements about the extensions of `extensions`: a dump comments on each, as their owner.

    Args:
        config: The project.
        script: SQL. Only a statement that begins a line and ends one is left out.
    """

    def kept(found: re.Match[str]) -> str:
        return "" if found[1] in config.extension_names else found[0]

    return re.sub(rf"(?im)^{_EXTENSION.pattern};[ \t]*$", kept, script)
