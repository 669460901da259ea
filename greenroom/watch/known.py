"""The findings that a project has accepted: a file of them, so that only new ones fail.

An entry says where: the file, the function, the text of the line and the attribute, and not the line's number. So it holds
until that code is edited itself.
"""

from __future__ import annotations

import functools
import json
import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import ConfigError
from greenroom.record import Found

if TYPE_CHECKING:
    from greenroom.diagnosis.frames import Line

_KEPT: Final = ("kind", "file", "function", "line", "attribute", "via", "test")
_ACCEPT: Final = "pytest --greenroom-accept-findings"


class Known:
    """What was found in a test, and which of it is known.

    Attributes:
        file: Where the known findings are.
        entries: They.
        accepts: All that is found in this run is accepted, and fails no test.

    Args:
        root: The project's folder.
        file: The file, relative to it.

    Raises:
        ConfigError: The file is not one of these.
    """

    def __init__(self, root: Path, file: str) -> None:
        self._root = root
        self._noted: deque[Found] = deque()
        self.file = root / file
        self.accepts = False
        self.entries = _read(self.file)
        self._keys = {entry.key for entry in self.entries}

    def found(
        self,
        kind: str,
        lines: Sequence[Line],
        title: str,
        test: str,
        *,
        attribute: str = "",
        loop: bool = False,
    ) -> Found:
        """A finding of this project.

        Args:
            kind: The setting that it was found by.
            lines: The user's own lines that led to it, the innermost first; none if there are none.
            title: What was found.
            test: The node ID of the test.
            attribute: The attribute that was read.
            loop: What was found is the loop, in one of the other lines: who calls a function that looks up one row.
        """
        # A comprehension is a function of its own up to Python 3.11.
        named = [each for each in lines if not each.function.startswith("<")]
        functions = list(dict.fromkeys(f"{self._relative(each.file)}:{each.function}" for each in named))
        line = lines[0] if lines else None
        function = next((each.function for each in named if line and each.file == line.file), "")
        return Found(
            kind,
            self._relative(line.file) if line else "",
            function,
            line.text if line else "",
            attribute,
            " < ".join(functions[1:]) if loop else "",
            number=line.number if line else 0,
            title=title,
            test=test,
        )

    def note(self, found: Sequence[Found], outcome: str = "failed") -> bool:
        """Note what belongs together. Returns whether it is known, or accepted, all of it.

        Args:
            found: A finding, or one in several lines.
            outcome: What becomes of the test if it is not.
        """
        known = self.accepts or all(each.key in self._keys for each in found)
        self._noted += [replace(each, outcome="known" if known else outcome) for each in found]
        return known

    def take(self) -> list[Found]:
        """What was noted since this was last asked."""
        return [self._noted.popleft() for _ in range(len(self._noted))]

    def write(self, entries: Iterable[Found]) -> None:
        """Write these to the file, in place of what is there.

        Raises:
            OSError: It cannot be written.
        """
        values = [
            {name: value for name in _KEPT if (value := getattr(entry, name))}
            for entry in sorted(entries, key=lambda entry: (entry.file, entry.key))
        ]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        part.write_text(
            json.dumps({"findings": values}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        part.replace(self.file)

    def _relative(self, file: str) -> str:
        return _relative(file, str(self._root))


@functools.cache
def _relative(file: str, root: str) -> str:
    return PurePath(os.path.relpath(file, root)).as_posix()


def _read(file: Path) -> list[Found]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return [_entry(**values) for values in json.loads(text)["findings"]]
    except (ValueError, TypeError, LookupError) as error:
        raise ConfigError(
            f"{file} must be what {_ACCEPT} writes. Found: {type(error).__name__}: {error}.",
            hint=f"remove it and run {_ACCEPT}",
        ) from None


def _entry(
    *,
    kind: str,
    file: str = "",
    function: str = "",
    line: str = "",
    attribute: str = "",
    via: str = "",
    test: str = "",
) -> Found:
    values: tuple[Any, ...] = (kind, file, function, line, attribute, via, test)
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"an entry's values must be texts: {values}")
    return Found(kind, file, function, line, attribute, via, test=test)
