"""Reads the lines of a text one by one, and makes of them the form that failures are recognised in.

Python's own form, with its chains and groups, pytest's (`--tb=short`, `long`, `native` or `line`), loguru's with the variables below
each line, and Sentry's, which has the error first and the frames after.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from greenroom.diagnosis.frames import Frame
from greenroom.explain.failure import Failure
from greenroom.explain.texts.boxes import VALUE
from greenroom.explain.texts.objects import failure_printed

_HEADER: Final = re.compile(r"^\s*(?:Exception Group )?Traceback \(most recent call last\):\s*$")
_PYTHON: Final = re.compile(r'^[\s>]*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_SHORT: Final = re.compile(r"^(?P<file>[^\s:][^:]*\.(?:py|pyx)|<[\w ]+>):(?P<line>\d+): in (?P<function>.+)$")
_LONG: Final = re.compile(r"^(?P<file>[^\s:][^:]*\.(?:py|pyx)):(?P<line>\d+): ?(?P<error>[\w.]*)$")
_DEFINED: Final = re.compile(r"^[> ]   (?:async )?def (?P<function>\w+)\(")
_WARNED: Final = re.compile(
    # Without a file where nothing runs any more: at Python's end, or in its garbage collector.
    r"^\s*(?:(?P<file>(?:[A-Za-z]:)?[^\s:][^:]*\.py)|sys|<sys>):(?P<line>\d+): (?P<kind>\w*Warning): (?P<message>.*)$"
)
_RAISED: Final = re.compile(
    r"^(?P<kind>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning|Greenlet|Exit|Group|Transaction|Failed|Closed|Interrupt"
    r"|NotFound|Rollback|Timeout|Iteration|Mismatch|Statement|Supported|Name))(?:: (?P<message>.*))?$"
)
# SQLAlchemy logs it, too. Where nothing is set up for its logger, Python prints the bare message.
_COLLECTED: Final = re.compile(
    r"(?:.*\bsqlalchemy\.pool\b.*)?(?P<message>The garbage collector is trying to clean up (?:non-checked-in )?connection <.*)"
)
# pytest's `--tb=line`: where it was raised, and what.
_LINE: Final = re.compile(r"^(?P<file>[^\s:][^:]*\.(?:py|pyx)):(?P<line>\d+): (?P<error>\S.*)$")
# Sentry's Markdown.
_SENTRY: Final = re.compile(r"^\s*(?P<function>\S+) in (?P<file>\S+) \[Line (?P<line>\d+)")
_SENTRYS: Final = re.compile(r"^\*\*(?P<name>Type|Value):\*\* (?P<text>.*)$")
# IPython's, with the lines around each place; before its version 8.
_NOTEBOOK: Final = re.compile(
    r"^(?:File )?(?P<file>[~/\w][^\s:]*\.pyx?):(?P<line>\d+), in (?P<function>[\w.<>]+)\(.*\)$"
    r"|^(?P<cell>Cell In ?\[\d+\]), line (?P<number>\d+)$"
    r"|^(?P<old><ipython-input-[\w-]+>|[~/][^\s:]*\.py) in (?P<old_function>[\w.<>]+)(?:\(.*\))?$"
)
_BELOW: Final = re.compile(r"^at line (\d+)$")
_NUMBERED: Final = re.compile(r"^\s*(?P<arrow>-+> ?)?(?P<number>\d+)(?: (?P<text>.*))?$")
_LEFT_OUT: Final = re.compile(r"^\s*(?:\.\.\.|\(\d+ additional frame\(s\) were not displayed\))\s*$")
# loguru's variables below a line: each hangs on its place in the line.
_HANGS: Final = re.compile(r"^(?P<before>[\s│|]*)└ ?(?P<value>.*)$")
_CHAINED: Final = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
# The next line of a log is no line of a message.
_LOGGED: Final = re.compile(
    r"^(?:Task exception was never retrieved$|future: <Task |\[?(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b[]: ]|\{\")"
)
_RULE: Final = re.compile(r"^[-=_+~ |]{4,}|^[=_-]{3,} .* [=_-]{3,}$")
_FAILED: Final = re.compile(
    r"async def functions are not natively supported\.|'.*' requested an async fixture '|ScopeMismatch: You tried"
)
# The same of an assertion, whose text it knows well.
_ASSERTED: Final = re.compile(r"assert .*<coroutine object ")
_MARKS: Final = re.compile(r"^(\s*)([~^]+)\s*$")


class Reader:
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
        self._first = False
        self._headed = False
        self._notebook = False

    def feed(self, line: str) -> None:
        """Take one line."""
        if not (self._notebooks(line) or self._pythons(line) or self._trackers(line) or self._pytests(line)):
            self._text(line)

    def _notebooks(self, line: str) -> bool:
        """A line of IPython's form: a place, or one of the numbered lines around it."""
        if found := _NOTEBOOK.match(line):
            self._error_first()
            if self._kind and not self._first:
                self._begin()
            parts = found.groupdict()
            file = parts["file"] or parts["cell"] or parts["old"]
            # A method has its class's name, too.
            function = (parts["function"] or parts["old_function"] or "").rpartition(".")[2]
            self._frames.append(Frame(file, int(parts["line"] or parts["number"] or 0), function))
            self._notebook = True
            return True
        if not self._notebook or (self._kind and not self._first):
            return False
        if below := _BELOW.match(line):
            # Sentry's page has the number below.
            self._frames[-1] = replace(self._frames[-1], number=int(below[1]))
            return True
        numbered = _NUMBERED.match(line)
        if numbered is None:
            return False
        if numbered["arrow"]:
            text = (numbered["text"] or "").strip()
            self._frames[-1] = replace(self._frames[-1], number=int(numbered["number"]), text=text)
        return True

    def _pythons(self, line: str) -> bool:
        """A line of Python's own form: a head, a place, a warning, what links the errors of a chain."""
        if line.strip() in _CHAINED:
            self._end()
            self._linked = True
        elif _HEADER.match(line):
            self._begin()
            self._headed = True
        elif frame := _PYTHON.match(line) or _SHORT.match(line) or _SENTRY.match(line):
            self._error_first()
            if self._kind and not self._first:
                self._begin()
            self._frames.append(Frame(frame["file"], int(frame["line"]), frame["function"] or ""))
        elif warned := _WARNED.match(line) or _COLLECTED.match(line):
            self._begin()
            parts = warned.groupdict()
            if parts.get("file"):
                self._frames.append(Frame(parts["file"], int(parts["line"]), ""))
            self._kind, self._message = parts.get("kind", "SAWarning"), [parts["message"]]
        else:
            return False
        return True

    def _trackers(self, line: str) -> bool:
        """A line of an error tracker or a logger: a variable, an error's name, what it has left out."""
        if line.startswith(VALUE):
            name, _, value = line.removeprefix(VALUE).partition("=")
            self._value(name, value)
        elif said := _SENTRYS.match(line):
            if said["name"] == "Type":
                self._raise(said["text"], "")
            elif self._kind:
                self._message, self._open = [said["text"]], False
        else:
            return self._first and bool(self._frames) and _LEFT_OUT.match(line) is not None
        return True

    def _pytests(self, line: str) -> bool:
        """A line of pytest's long style."""
        if long := _LONG.match(line):
            # The place stands below the source, of the last frame below the error, too.
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
            return False
        return True

    def end_of_chain(self) -> None:
        """What comes now has nothing to do with what was read."""
        self._end()
        if self._chain:
            self.chains.append(wrapped(self._chain[::-1]))
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
        frames = [replace(frame, text=frame.text.strip()) for frame in self._frames]
        if self._first and _within_out(frames):
            frames.reverse()
        self._chain.append(failure_printed(self._kind, message, tuple(frames)))
        self._linked = False
        self._start()

    def take(self, errors: list[Failure]) -> None:
        """Take errors that were read already: they belong to nothing before or after them."""
        self.end_of_chain()
        self.chains.append(wrapped(errors))

    def _error_first(self) -> None:
        """A frame comes. If only an error stands above it, and no traceback has begun, they belong together, as Sentry has it."""
        if self._kind and not self._frames and not self._headed and not self._linked:
            self._first, self._open = True, False
            self._message = [line for line in self._message if not _LEFT_OUT.match(line)]

    def _value(self, name: str, value: str) -> None:
        """The last frame had a variable with this value, as the text prints it."""
        if self._frames and (not self._kind or self._first):
            last = self._frames[-1]
            self._frames[-1] = replace(last, values={**last.values, name: value})

    def _hangs(self, line: str) -> bool:
        """Whether a line shows variables of the line above, as loguru prints them."""
        if not self._frames or not line.strip() or not re.match(r"^\s*[│└]", line):
            return False
        hanging = _HANGS.match(line)
        text = self._frames[-1].text
        if hanging and (name := re.compile(r"[A-Za-z_]\w*").match(text, len(hanging["before"]))):
            self._value(name[0], hanging["value"])
        return True

    def _text(self, line: str) -> None:
        """A line that is no place: the error, more of its message, or the source of the last place."""
        stated = line[1:].strip() if re.match(r"E\s", line) else line
        if not self._open and self._hangs(line):
            return
        if self._open:
            if stated.strip() and not _RULE.match(stated) and not _LOGGED.match(stated):
                self._message.append(stated)
            else:
                self._open = False
        elif _FAILED.match(stated):
            # pytest prints what pytest.fail() was given without the exception's name, and without frames.
            self._begin()
            self._raise("Failed", stated)
        elif stated != line and _ASSERTED.match(stated):
            self._raise("AssertionError", stated)
        elif (placed := _LINE.match(line)) and (raised := _RAISED.match(placed["error"])):
            self._raise(raised["kind"], raised["message"] or "")
            self._frames = [Frame(placed["file"], int(placed["line"]), "")]
        elif raised := _RAISED.match(stated):
            self._raise(raised["kind"], raised["message"] or "")
        elif self._frames and (not self._kind or self._first) and line.strip():
            self._source_of_last(line)
        elif self._kind.endswith("Warning") and not self._message[1:] and line.startswith("  "):
            # Below a warning stands the line that it names.
            self._source_of_last(line)

    def _raise(self, kind: str, message: str) -> None:
        """An error is named: that of the frames that were read, or of a traceback of its own."""
        if self._kind:
            self._begin()
        self._kind, self._message, self._open = kind, [message], True

    def _source_of_last(self, line: str) -> None:
        # In a notebook's form the right one has an arrow.
        if not self._frames or self._notebook:
            return
        last = self._frames[-1]
        marks = _MARKS.match(line)
        if not last.text:
            self._frames[-1] = replace(last, text=line)
        elif marks and not last.expression:
            self._frames[-1] = replace(last, expression=_marked(last.text, marks))


def wrapped(errors: list[Failure]) -> list[Failure]:
    """The errors of a chain, the outermost first. What a library has wrapped passed through the frames of its wrapper, too."""
    errors = [
        replace(error, behind=tuple(other.kinds[0] for other in errors[number:]))
        for number, error in enumerate(errors, start=1)
    ]
    outermost, *others = errors
    return [
        outermost,
        *(
            replace(other, frames=outermost.frames + other.frames, wrapping=len(outermost.frames))
            for other in others
        ),
    ]


def _within_out(frames: list[Frame]) -> bool:
    """Whether the innermost frame is the first: it is a library's, where the user's own would be."""
    return len(frames) > 1 and frames[0].of_library and not frames[-1].of_library


def _marked(text: str, marks: re.Match[str]) -> str:
    """The part of a line that Python has marked below it."""
    return text[len(marks[1]) : len(marks[1]) + len(marks[2])].strip()
