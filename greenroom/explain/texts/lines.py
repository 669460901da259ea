"""The lines of a text without what a log, a terminal or a page has put before them, and the errors that stand in it as objects."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Final

from greenroom.explain.failure import Failure
from greenroom.explain.texts.boxes import Unboxing
from greenroom.explain.texts.objects import decoded, held

_COLOUR: Final = re.compile(r"\x1b\[[\d;]*[A-Za-z]|\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)")
_PREFIX: Final = re.compile(
    r"^(?:[\w.-]+ +\| "  # docker compose logs
    r"|\[[\w./-]+\] "  # kubectl logs --prefix
    r"|[^\t\n]+\t[^\t\n]+\t(?=\d{4}-)"  # gh run view --log: the names of a job and a step
    r"|\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)? ?"  # GitHub, GitLab, Docker, Kubernetes
    r"(?:[0-9a-f]{2}[OE](?:[+ ]|$)|std(?:out|err) [FP](?: |$))?"  # the stream, in GitLab's files and in Kubernetes'
    r")+"
)
_HEADER: Final = re.compile(
    r"^(.*?)(?: *[|+] )*(?:Exception Group )?Traceback \(most recent call last\):\s*$"
)
# A traceback within a string, which ends at the next quote that is not escaped.
_ESCAPED: Final = re.compile(
    r"Traceback \(most recent call last\):\\+n(?:(?=.*?File \\+\")(?:[^\"\\]|\\.)*|(?:[^'\\]|\\.)*)"
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_GROUP: Final = re.compile(r"^\s*(?:\| |\+-\+-|\+-)(?:[-+\d. ]*$)?")
_LONGEST: Final = 5000
"""Lines of an object that is printed over several."""


def lines_of(text: str) -> Iterator[str | list[Failure]]:
    """The lines of a text, and between them the errors that are objects in it, as `objects.held` returns them."""
    around, within = re.compile(""), False
    for line in _unboxed(text):
        if isinstance(line, list):
            yield line
            continue
        if header := _HEADER.match(line):
            around, within = _like(header[1]), False
        elif around.match(line):
            within = True
        elif within and line.strip():
            yield ""
            within = False
        yield _GROUP.sub("", around.sub("", line, count=1))


def _unboxed(text: str) -> Iterator[str | list[Failure]]:
    """Lines without a prefix and in no box, and errors."""
    boxes, prefixed, skip = Unboxing(), False, 0
    lines = textwrap.dedent(_COLOUR.sub("", text)).splitlines()
    for number, line in enumerate(lines):
        if number < skip:
            continue
        if found := _objects(lines, number):
            skip, inner = found
            yield from boxes.end()
            # The blank lines end what stood before, and the last message of a string.
            yield ""
            for each in inner:
                yield from lines_of(each) if isinstance(each, str) else [each]
                yield ""
        elif _ESCAPED.search(line):
            yield from boxes.end()
            for escaped in _ESCAPED.findall(line):
                yield from ("", *lines_of(_unescaped(escaped)), "")
        else:
            prefix = _PREFIX.match(line)
            if prefixed is not (prefix is not None):
                # What has another beginning is no line of the message before it.
                prefixed = prefix is not None
                yield from boxes.feed("")
            yield from boxes.feed(line[prefix.end() :] if prefix else line)
    yield from boxes.end()


def _objects(lines: list[str], number: int) -> tuple[int, list[str | list[Failure]]] | None:
    """The number of the line after an object of JSON that begins in a line, and the errors in it; None if there are none."""
    line = lines[number]
    start = next((at for at in (line.find("{"), line.find("[")) if at >= 0), -1)
    if start < 0 or not (line.rstrip().endswith(("}", "]", ",")) or line.strip() in {"{", "["}):
        return None
    several = line.strip() in {"{", "["}
    text = "\n".join(lines[number : number + _LONGEST]) if several else line
    found = decoded(text[start:])
    if found is None:
        return None
    inner = list(held(found[0]))
    return (number + text.count("\n", 0, start + found[1]) + 1, inner) if inner else None


def _like(prefix: str) -> re.Pattern[str]:
    """What stands before the other lines of a traceback, from what stands before its first: other numbers, the same text."""
    if not prefix.strip():
        return re.compile(f"^{prefix}")
    alike = re.sub(r"\d+", r"\\d+", re.escape(prefix.rstrip()))
    # Spaces at the end of a line are often not kept.
    return re.compile(f"^{alike} {{0,{len(prefix) - len(prefix.rstrip())}}}")


def _unescaped(text: str) -> str:
    """A string as JSON and Python write it, one level of backslashes taken away."""
    plain = {"n": "\n", "r": "\r", "t": "\t"}
    return _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else plain.get(found[2], found[2]), text
    )
