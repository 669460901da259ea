"""Settings taken out of the text of a file, all other text kept as it is."""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

KEYS: Final = (
    "asyncio_mode",
    "asyncio_default_fixture_loop_scope",
    "asyncio_default_test_loop_scope",
    "anyio_mode",
)
"""pytest's settings that say how asynchronous tests run."""

SECTIONS: Final = {
    "pyproject.toml": ("tool.pytest.ini_options", "tool.pytest"),
    "pytest.toml": ("pytest",),
    ".pytest.toml": ("pytest",),
    "pytest.ini": ("pytest",),
    ".pytest.ini": ("pytest",),
    "tox.ini": ("pytest",),
    "setup.cfg": ("tool:pytest",),
}
"""The files that pytest may take its settings from, each with their sections there."""

_KEY: Final = "|".join(KEYS)

_OPTION: Final = (
    r"(?:-p[ \t]*(?:pytest_)?asyncio(?:\.plugin)?"
    r"|--asyncio-mode(?:=|[ \t]+)\w+"
    rf"|(?:-o[ \t]*|--override-ini(?:=|[ \t]+))(?:{_KEY})=\w+)"
)
"""The same as options of pytest's, in one word or two."""

_PARTS: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""|'
    r"'''.*?'''|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'|#[^\n]*|[\[\]{},\n]|[^\[\]{},\"'#\n]+",
    re.DOTALL,
)
"""What a value in TOML is made of: strings, comments, brackets, commas, ends of lines and the rest."""


def without(name: str, text: str) -> str:
    """A file's text without `KEYS` and without the options that say the same; as it is where that is not certain.

    Args:
        name: The file's name, one of `SECTIONS`.
        text: What is in it.
    """
    in_toml = name.endswith(".toml")
    remove, parse = (_without_in_toml, _parsed_toml) if in_toml else (_without_in_ini, _parsed_ini)
    after = remove(text, SECTIONS[name])
    try:
        expected, found = parse(text), parse(after)
    except (tomllib.TOMLDecodeError, configparser.Error):
        return text
    for section in SECTIONS[name]:
        for each, is_before in ((expected, True), (found, False)):
            _normalise(_table(each, section.split(".") if in_toml else [section]), removes=is_before)
    return after if expected == found else text


# -- what the text should say, as Python reads it ------------------------------------------------------------------------


def _parsed_toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _parsed_ini(text: str) -> dict[str, Any]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _table(parsed: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    for key in keys:
        found = parsed.get(key, {})
        parsed = found if isinstance(found, dict) else {}
    return parsed


def _normalise(table: dict[str, Any], *, removes: bool) -> None:
    """The options as a list, without empty ones, and without what is to be removed."""
    options = table.pop("addopts", [])
    words = shlex.split(options) if isinstance(options, str) else list(options)
    if removes:
        for key in KEYS:
            table.pop(key, None)
        gone = _superfluous(words)
        words = [each for number, each in enumerate(words) if number not in gone]
    if words:
        table["addopts"] = words


def _superfluous(words: Sequence[str]) -> set[int]:
    """Which of these options are to be removed."""
    gone: set[int] = set()
    for number, word in enumerate(words):
        if number in gone:
            continue
        if re.fullmatch(_OPTION, word.strip()):
            gone.add(number)
        elif number + 1 < len(words) and re.fullmatch(_OPTION, f"{word} {words[number + 1]}"):
            gone |= {number, number + 1}
    return gone


def _shorter(line: str, *, whole: bool = False) -> str:
    """A line of options without those that are to be removed; nothing if none is left, and it is not `whole`."""
    shorter = re.sub(rf"(?<!\S){_OPTION}[ \t]+(?=\S)", "", line)
    shorter = re.sub(rf"[ \t]*(?<!\S){_OPTION}(?!\S)", "", shorter)
    return shorter if shorter == line or shorter.strip() or whole else ""


# -- INI -----------------------------------------------------------------------------------------------------------------


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _without_in_ini(text: str, sections: Sequence[str]) -> str:
    lines = _lines(text)
    section = key = ""
    options: list[int] = []
    for number, line in enumerate(lines):
        begin, rest = "", line
        if not line.strip() or line[:1] in "#;":
            continue
        if not line[:1].isspace():
            if header := re.match(r"\[(.*?)\]", line):
                section, key = header[1].strip(), ""
                continue
            named = re.match(r"([^:=]*?)\s*[:=]", line)
            key = named[1] if named is not None else ""
            begin, rest = (line[: named.end()], line[named.end() :]) if named is not None else ("", line)
        if section in sections and key in KEYS:
            lines[number] = ""
        elif section in sections and key == "addopts":
            options.append(number)
            lines[number] = begin + _shorter(rest, whole=bool(begin))
    said = "".join(lines[each] for each in options)
    if text != "".join(lines) and re.fullmatch(r"addopts\s*[:=]\s*", said):
        for each in options:
            lines[each] = ""
    return "".join(lines)


# -- TOML ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Statement:
    """A key and its value.

    Attributes:
        name: The key, with its table's: `tool.pytest.ini_options.addopts`.
        start: Where its line begins.
        value: Where the value begins.
        end: Where the line ends after the value.
    """

    name: str
    start: int
    value: int
    end: int


def _statements(text: str) -> Iterator[_Statement]:
    table, start = "", 0
    while start < len(text):
        end, depth = start, 0
        for part in _PARTS.finditer(text, start):
            end = part.end()
            depth += (part[0] in "[{") - (part[0] in "]}")
            if part[0] == "\n" and depth <= 0:
                break
        line = text[start:end]
        if header := re.match(r"\s*\[([^\[\]]*)\]", line):
            table = _dotted(header[1])
        elif re.match(r"\s*\[", line):
            table = "[]"  # one table of several, none of pytest's
        elif named := re.match(r"[ \t]*([\w.\-\"' \t]+?)[ \t]*=[ \t]*", line):
            yield _Statement(f"{table}.{_dotted(named[1])}".lstrip("."), start, start + named.end(), end)
        start = end


def _dotted(name: str) -> str:
    return ".".join(each.strip().strip("\"'") for each in name.split("."))


def _without_in_toml(text: str, sections: Sequence[str]) -> str:
    gone = {f"{section}.{key}" for section in sections for key in KEYS}
    options = {f"{section}.addopts" for section in sections}
    for each in reversed(list(_statements(text))):
        value = text[each.value : each.end]
        if each.name in gone:
            value = ""
        elif each.name in options:
            value = _without_in_array(value) if value.startswith("[") else _without_in_string(value)
        else:
            continue
        text = (
            text[: each.value] + value + text[each.end :] if value else text[: each.start] + text[each.end :]
        )
    return text


def _without_in_string(value: str) -> str:
    """A string of options, and what stands behind it; nothing if no option is left."""
    part = _PARTS.match(value)
    assert part is not None
    quotes = 3 if part[0][:3] in ('"""', "'''") else 1
    inner = part[0][quotes:-quotes]
    shorter = "".join(_shorter(each) for each in _lines(inner))
    if not shorter.strip() and inner.strip():
        return ""
    return part[0][:quotes] + shorter + part[0][-quotes:] + value[part.end() :]


def _without_in_array(value: str) -> str:
    """The same of an array."""
    parts = list(_PARTS.finditer(value))
    strings = [number for number, part in enumerate(parts) if part[0][0] in "\"'"]
    words = [tomllib.loads(f"x = {parts[number][0]}")["x"] for number in strings]
    gone = _superfluous(words)
    if words and len(gone) == len(words):
        return ""
    for last in sorted(gone, reverse=True):
        if last + 1 in gone:
            continue
        first = last
        while first - 1 in gone:
            first -= 1
        start, end = parts[strings[first]].start(), parts[strings[last]].end()
        if comma := re.match(r"\s*,[ \t]*", value[end:]):
            end += comma.end()
        elif first and re.fullmatch(r",[ \t]*", value[parts[strings[first - 1]].end() : start]):
            start = parts[strings[first - 1]].end()
        begins, rest = value.rfind("\n", 0, start) + 1, re.match(r"[ \t]*(?:#[^\n]*)?\r?\n", value[end:])
        if begins and not value[begins:start].strip() and rest is not None:
            start, end = begins, end + rest.end()
        value = value[:start] + value[end:]
    return value
