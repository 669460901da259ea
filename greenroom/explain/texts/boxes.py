"""Tracebacks in the boxes of rich, which structlog and others print as well, turned into Python's own form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TOP: Final = re.compile(r"^[^╭┌]*[╭┌]─+(?: (?P<title>.+?) )?─+[╮┐]\s*$")
_BOTTOM: Final = re.compile(r"^[^╰└│]*[╰└]─+[╯┘]\s*$")
_CONTENT: Final = re.compile(r"^[^│]*│ ?(.*?)\s*│?\s*$")
_HEADER: Final = re.compile(r"^(?P<file>\S.*):(?P<line>\d+)(?: in (?P<function>.+))?$")
_CODE: Final = re.compile(r"^(?P<mark>[❱>])?\s*(?P<line>\d+)(?: (?P<text>.*))?$")
_VALUE: Final = re.compile(r"^(?P<name>[A-Za-z_]\w*)\s+= (?P<value>.*)$")
_TRACEBACK: Final = "Traceback (most recent call last)"
_GUIDE: Final = re.compile(r"│(?=   )")

VALUE: Final = "\0"
"""Begins a line that says what a variable of the frame above was: its name, `=`, its value."""


class Unboxing:
    """Takes lines one by one and gives back those of Python's form; what is in no box as it is."""

    def __init__(self) -> None:
        self._title: str | None = None
        self._depth = 0
        self._content: list[str] = []
        self._width = 0
        self._wrapped = ""

    def feed(self, line: str) -> Iterator[str]:
        """Take one line."""
        if self._title is None:
            top = _TOP.match(line)
            if top and (
                (top["title"] or "") == _TRACEBACK or (top["title"] or "").startswith("Sub-exception")
            ):
                yield from self.end()
                self._title, self._depth, self._content = top["title"], 1, []
                self._width = len(line.rstrip())
            else:
                yield from self._outside(line)
            return
        inner = _CONTENT.match(line)
        if self._depth == 1 and _BOTTOM.match(line):
            title, self._title = self._title, None
            yield from _of_box(title, self._content)
        elif inner is None:
            # Cut off.
            title, self._title = self._title, None
            yield from _of_box(title, self._content)
            yield line
        else:
            self._content.append(inner[1])

    def end(self) -> Iterator[str]:
        """No more lines come."""
        if self._title is not None:
            title, self._title = self._title, None
            yield from _of_box(title, self._content)
        if self._wrapped:
            yield self._wrapped.replace("\n", " ")
            self._wrapped = ""

    def _outside(self, line: str) -> Iterator[str]:
        """What stands below a box is broken at its width: the error and its text."""
        if not self._width:
            yield line
            return
        last = self._wrapped.rpartition("\n")[2]
        word = line.strip().partition(" ")[0]
        if self._wrapped and word and len(last) + 1 + len(word) > self._width:
            self._wrapped = f"{self._wrapped}\n{line.rstrip()}"
            return
        if self._wrapped:
            yield self._wrapped.replace("\n", " ")
        self._wrapped = line.rstrip()
        if not line.strip():
            self._wrapped, self._width = "", 0
            yield line


def _of_box(title: str, content: list[str]) -> Iterator[str]:
    """The lines of a box."""
    if title != _TRACEBACK:
        within = Unboxing()
        yield ""
        for line in content:
            yield from within.feed(line)
        yield from within.end()
        yield ""
        return
    yield f"{title}:"
    number = ""
    for paragraph in _paragraphs(content):
        if _TOP.match(paragraph[0]):
            yield from _values(paragraph)
        elif header := _header(paragraph):
            number = header["line"]
            yield f'  File "{header["file"]}", line {number}, in {header["function"] or "<module>"}'
        else:
            marked = (_CODE.match(line) for line in paragraph)
            code = next((each for each in marked if each and each["line"] == number and each["mark"]), None)
            if code and code["text"]:
                yield f"    {_GUIDE.sub(' ', code['text']).strip()}"


def _paragraphs(content: list[str]) -> Iterator[list[str]]:
    """Pieces between blank lines; a box within, such as that of the variables, is a piece of its own."""
    piece: list[str] = []
    for line in content:
        if piece and (not line.strip() or _TOP.match(line)):
            yield piece
            piece = []
        if line.strip():
            piece.append(line)
    if piece:
        yield piece


def _header(paragraph: list[str]) -> re.Match[str] | None:
    """The place of a frame, which may be broken anywhere."""
    lines = [line.strip() for line in paragraph]
    if _CODE.match(lines[0]):
        return None
    return _HEADER.match(" ".join(lines)) or _HEADER.match("".join(lines))


def _values(paragraph: list[str]) -> Iterator[str]:
    for line in paragraph:
        content = _CONTENT.match(line)
        if content and (value := _VALUE.match(content[1].strip())):
            yield f"{VALUE}{value['name']}={value['value']}"
