"""The text of `[tool.greenroom]`, and where it goes in a file whose other lines stay as they are."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from typing import Any, Final

from greenroom.errors import ConfigError
from greenroom.init.settings import Settings

_TABLES: Final = ("environment", "environment_defaults")

_MARK: Final = "# Written by `greenroom init` ({digest}); it changes nothing here any more if you do."
_MARKED: Final = re.compile(r"# Written by `greenroom init(?: --\w+)?` \((\w+)\)")

_HEADER: Final = re.compile(r"^\s*\[+\s*([^\]]+?)\s*\]+\s*(#.*)?$")

_COMMENT: Final = 44
"""The column of the comments."""


def table(settings: Settings) -> str:
    """`[tool.greenroom]` with a comment on each line that needs one."""
    lines = ["[tool.greenroom]"]
    for key, value in settings.table.items():
        if key not in _TABLES:
            lines.append(_line(key, value, settings.why.get(key)))
    for key in _TABLES:
        if inside := settings.table.get(key):
            lines += ["", f"[tool.greenroom.{key}]"]
            lines += [_line(name, value, settings.why.get(f"{key}.{name}")) for name, value in inside.items()]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, why: str | None) -> str:
    name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
    text = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return f"{text:{_COMMENT}}  # {why}" if why else text


def digest(body: str) -> str:
    """What tells whether somebody has changed a section since it was written."""
    return hashlib.sha256(body.replace("\r\n", "\n").strip().encode()).hexdigest()[:10]


def marked(body: str) -> str:
    """A section with the line before it that says who wrote it."""
    return f"{_MARK.format(digest=digest(body))}\n{body}"


def is_ours(text: str) -> bool:
    """Whether the first line of a section or a file says that init wrote it, and nobody has changed the rest since."""
    found = _MARKED.match(text)
    return found is not None and digest(text.partition("\n")[2]) == found[1]


class Section:
    """The section of a pyproject.toml as it is now.

    Args:
        document: The file's text; empty if there is no file.
    """

    def __init__(self, document: str) -> None:
        self.document = document
        self._lines = document.splitlines(keepends=True)
        self._start, self._end = self._place()

    def _place(self) -> tuple[int, int]:
        """The lines from the first header to the last one that has content; the end of the file if there is none."""
        names = [
            (number, found[1]) for number, line in enumerate(self._lines) if (found := _HEADER.match(line))
        ]
        ours = [number for number, name in names if re.fullmatch(r"tool\s*\.\s*greenroom(\s*\..*)?", name)]
        if not ours:
            return len(self._lines), len(self._lines)
        start = ours[0]
        if start and _MARKED.match(self._lines[start - 1]):
            start -= 1
        after = [number for number, _name in names if number > ours[-1]]
        end = after[0] if after else len(self._lines)
        while end > ours[-1] + 1 and (
            not self._lines[end - 1].strip() or self._lines[end - 1].lstrip().startswith("#")
        ):
            end -= 1
        return start, end

    @property
    def text(self) -> str:
        """The section with its mark; empty if there is none."""
        return "".join(self._lines[self._start : self._end])

    @property
    def others(self) -> str:
        """The document with empty lines in the place of the section."""
        return "".join(
            [*self._lines[: self._start], "\n" * (self._end - self._start), *self._lines[self._end :]]
        )

    @property
    def ours(self) -> bool:
        """Whether init wrote it, and nobody has changed it since."""
        return is_ours(self.text)

    def replaced(self, body: str) -> str:
        """The document with another section, and everything else as it is.

        Args:
            body: The new section, without its mark.

        Raises:
            ConfigError: The document would not say the same as before outside of the section.
        """
        newline = "\r\n" if "\r\n" in self.document else "\n"
        new = marked(body).replace("\n", newline)
        before, after = "".join(self._lines[: self._start]), "".join(self._lines[self._end :])
        if before.strip() and not self.text:
            before = before.rstrip("\r\n") + newline * 2
        document = before + new + after
        was, now = tomllib.loads(self.document), tomllib.loads(document)
        wanted = tomllib.loads(body)["tool"]["greenroom"]
        if now.get("tool", {}).pop("greenroom", None) != wanted or _without(was) != _without(now):
            raise ConfigError(
                "The section cannot be written into pyproject.toml without changing something else.",
                hint="greenroom init --dry-run prints it; paste it by hand",
            )
        return document


def _without(document: dict[str, Any]) -> dict[str, Any]:
    """A document without greenroom's table, and without a table `tool` that holds nothing else."""
    tool = {key: value for key, value in document.get("tool", {}).items() if key != "greenroom"}
    rest = {key: value for key, value in document.items() if key != "tool"}
    return {**rest, "tool": tool} if tool else rest
