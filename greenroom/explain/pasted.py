"""A traceback as text, from a log or a CI job, in the form that failures are recognised in.

It may be Python's own, with its chains and groups, or pytest's (`--tb=short`, `long` or `native`), with or without colours
and the prefixes that CI and Compose put before each line. Python's own may have any prefix, and may be a string in a log of
JSON objects.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from greenroom.explain.explaining import first_explained
from greenroom.explain.explanation import Explanation
from greenroom.explain.failure import Failure, Frame

_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
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
_PYTHON: Final = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_SHORT: Final = re.compile(r"^(?P<file>[^\s:][^:]*\.(?:py|pyx)|<[\w ]+>):(?P<line>\d+): in (?P<function>.+)$")
_LONG: Final = re.compile(r"^(?P<file>[^\s:][^:]*\.(?:py|pyx)):(?P<line>\d+): ?(?P<error>[\w.]*)$")
_DEFINED: Final = re.compile(r"^[> ]   (?:async )?def (?P<function>\w+)\(")
_WARNED: Final = re.compile(
    # Without a file where nothing runs any more: at Python's end, or in its garbage collector.
    r"^\s*(?:(?P<file>[^\s:][^:]*\.py)|sys|<sys>):(?P<line>\d+): (?P<kind>\w*Warning): (?P<message>.*)$"
)
_RAISED: Final = re.compile(
    r"^(?P<kind>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning|Greenlet|Exit|Group|Transaction|Failed|Closed|Interrupt"
    r"|NotFound|Rollback|Timeout|Iteration))(?:: (?P<message>.*))?$"
)
# SQLAlchemy logs it, too. Where nothing is set up for its logger, Python prints the bare message.
_COLLECTED: Final = re.compile(
    r"(?:.*\bsqlalchemy\.pool\b.*)?(?P<message>The garbage collector is trying to clean up non-checked-in connection <.*)"
)
_CHAINED: Final = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
# The next line of a log is no line of a message.
_LOGGED: Final = re.compile(r"^(?:\[?(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b[]: ]|\{\")")
_RULE: Final = re.compile(r"^[-=_+~ |]{4,}|^[=_-]{3,} .* [=_-]{3,}$")
_FAILED: Final = re.compile(
    r"async def functions are not natively supported\.|'.*' requested an async fixture '"
)
# The same of an assertion, whose text it knows well.
_ASSERTED: Final = re.compile(r"assert .*<coroutine object ")
_MARKS: Final = re.compile(r"^(\s*)([~^]+)\s*$")


def explain_text(text: str) -> list[Explanation]:
    """Why the errors of a text were raised, as far as it tells.

    Args:
        text: A traceback or several, and whatever stands around them.

    Returns:
        An explanation of each error that is known here, in the text's order, none of them twice.
    """
    explanations: list[Explanation] = []
    for failures in read(text):
        explanation = first_explained(failures)
        if explanation is not None and explanation not in explanations:
            explanations.append(explanation)
    return explanations


def read(text: str) -> list[list[Failure]]:
    """The errors of a text, each with those that it was raised from, the outermost first as in `chain`."""
    reader = _Reader()
    for line in _lines(text):
        reader.feed(line)
    reader.end_of_chain()
    return reader.chains


def _lines(text: str) -> Iterator[str]:
    """The lines of a text without what a log, a terminal or a page has put before them."""
    around, within, prefixed = re.compile(""), False, False
    for raw in textwrap.dedent(text).splitlines():
        line = _COLOUR.sub("", raw)
        if _ESCAPED.search(line):
            # The blank lines end what stood before, and the last message of the string.
            for escaped in _ESCAPED.findall(line):
                yield from ("", *_lines(_unescaped(escaped)), "")
            continue
        prefix = _PREFIX.match(line)
        if prefixed is not (prefix is not None):
            # What has another beginning is no line of the message before it.
            prefixed = prefix is not None
            yield ""
        line = line[prefix.end() :] if prefix else line
        if header := _HEADER.match(line):
            around, within = _like(header[1]), False
        elif around.match(line):
            within = True
        elif within and line.strip():
            yield ""
            within = False
        yield _GROUP.sub("", around.sub("", line, count=1))


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


class _Reader:
    """Takes the lines of a text one by one.

    Attributes:
        chains: What was read: exceptions that are chained stand together, the outermost first.
    """

    def __init__(self) -> None:
        self.chains: list[list[Failure]] = []
        self._chain: list[Failure] = []
        self._linked = False
        self._start()

    def _start(self) -> None:
        self._frames: list[Frame] = []
        self._kind = ""
        self._message: list[str] = []
        self._open = False
        self._source = ""
        self._expression = ""
        self._function = ""

    def feed(self, line: str) -> None:
        """Take one line."""
        if line.strip() in _CHAINED:
            self._end()
            self._linked = True
        elif _HEADER.match(line):
            self._begin()
        elif frame := _PYTHON.match(line) or _SHORT.match(line):
            if self._kind:
                self._begin()
            self._frames.append(Frame(frame["file"], int(frame["line"]), frame["function"] or ""))
        elif warned := _WARNED.match(line) or _COLLECTED.match(line):
            self._begin()
            parts = warned.groupdict()
            if parts.get("file"):
                self._frames.append(Frame(parts["file"], int(parts["line"]), ""))
            self._kind, self._message = parts.get("kind", "SAWarning"), [parts["message"]]
        elif long := _LONG.match(line):
            # pytest's long style: the place stands below the source, of the last frame below the error, too.
            self._frames.append(
                Frame(long["file"], int(long["line"]), self._function, self._source, self._expression)
            )
            self._source, self._expression, self._function, self._open = "", "", "", False
        elif line.startswith(">"):
            self._source = f" {line[1:]}"
        elif self._source and (marks := _MARKS.match(line)):
            self._expression = _marked(self._source, marks)
        elif (defined := _DEFINED.match(line)) and not self._open:
            if self._kind:
                self._begin()
            self._function = self._function or defined["function"]
        else:
            self._text(line)

    def end_of_chain(self) -> None:
        """What comes now has nothing to do with what was read."""
        self._end()
        if self._chain:
            outermost, *others = reversed(self._chain)
            # What a library has wrapped passed through the frames of its wrapper, too.
            self.chains.append(
                [outermost, *(replace(other, frames=outermost.frames + other.frames) for other in others)]
            )
        self._chain = []

    def _begin(self) -> None:
        """A new traceback begins: of the same chain, if a line has said so."""
        if self._kind:
            self._end()
        if self._chain and not self._linked:
            self.end_of_chain()
        self._linked = False
        self._start()

    def _end(self) -> None:
        if not self._kind:
            return
        message = "\n".join(self._message).strip()
        kinds = [self._kind]
        # SQLAlchemy's own name, the driver's, and the text: (module.Kind) <class 'module.Kind'>: text
        if self._kind.startswith("sqlalchemy."):
            kinds += re.findall(r"^\(([\w.]+)\)", message)
            kinds += re.findall(r"^\([\w.]+\) <class '([\w.]+)'>", message)
        frames = [replace(frame, text=frame.text.strip()) for frame in self._frames]
        self._chain.append(Failure(tuple(kinds), message, tuple(frames)))
        self._linked = False
        self._start()

    def _text(self, line: str) -> None:
        """A line that is no place: the error, more of its message, or the source of the last place."""
        stated = line[1:].strip() if re.match(r"E\s", line) else line
        if self._open:
            if stated.strip() and not _RULE.match(stated) and not _LOGGED.match(stated):
                self._message.append(stated)
            else:
                self._open = False
        elif _FAILED.match(stated):
            # pytest prints what pytest.fail() was given without the exception's name.
            self._begin()
            self._kind, self._message, self._open = "Failed", [stated], True
        elif stated != line and _ASSERTED.match(stated):
            if self._kind:
                self._begin()
            self._kind, self._message, self._open = "AssertionError", [stated], True
        elif raised := _RAISED.match(stated):
            if self._kind:
                self._begin()
            self._kind, self._message, self._open = raised["kind"], [raised["message"] or ""], True
        elif self._frames and not self._kind and line.strip():
            self._source_of_last(line)
        elif self._kind.endswith("Warning") and not self._message[1:] and line.startswith("  "):
            # Below a warning stands the line that it names.
            self._source_of_last(line)

    def _source_of_last(self, line: str) -> None:
        if not self._frames:
            return
        last = self._frames[-1]
        marks = _MARKS.match(line)
        if not last.text:
            self._frames[-1] = replace(last, text=line)
        elif marks and not last.expression:
            self._frames[-1] = replace(last, expression=_marked(last.text, marks))


def _marked(text: str, marks: re.Match[str]) -> str:
    """The part of a line that Python has marked below it."""
    return text[len(marks[1]) : len(marks[1]) + len(marks[2])].strip()
