"""Values for a column, by its type: what a minimal row is made of."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Final

_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'")
_NUMBER: Final = re.compile(r"(?<![\w.'])-?\d+(?:\.\d+)?(?![\w.'])")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that rows are put into.

    Attributes:
        number: Its number in the table.
        name: Its name, quoted where it must be.
        type: Its type, as it is written.
        base: The name of its type, or, of a domain, of the type below.
        modifier: The type's own, such as its length, as PostgreSQL keeps it; -1 for none.
        kind: The kind of its type, as PostgreSQL keeps it: `e` for an enum, `A` for an array.
        labels: Those of an enum.
        required: It needs a value: it may not be null, and has no default.
        checks: The text of the checks on it.
    """

    number: int
    name: str
    type: str
    base: str
    modifier: int
    kind: str
    labels: tuple[str, ...]
    required: bool
    checks: tuple[str, ...] = ()


def candidates(column: Column, row: int) -> list[str]:
    """Values to try, as text, the likeliest first; different ones for different rows where the type has as many.

    Args:
        column: The column.
        row: The row's number, from 1.

    Returns:
        None of them if the type is not known.
    """
    if column.kind == "e":
        return _turned(list(column.labels), row)
    if column.base in _TEXT:
        return _words(column, row)
    if column.base in _NUMBERS:
        return _numbers(column, row)
    return _others(column, row)


def _words(column: Column, row: int) -> list[str]:
    limit = column.modifier - 4 if column.modifier > 4 else None
    quoted = [each.replace("''", "'") for check in column.checks for each in _QUOTED.findall(check)]
    # A pattern is not a value, but a word in a list is.
    listed = [each for each in quoted if re.fullmatch(r"[\w .:/@+-]*", each)]
    return [each[-limit:] if limit else each for each in _turned(listed, row) + _texts(column, row)]


def _numbers(column: Column, row: int) -> list[str]:
    written = [each for check in column.checks for each in _NUMBER.findall(check)]
    found = [*_number(row), *(near for each in written for near in _near(each))]
    if column.base.startswith("int"):
        return [each for each in found if "." not in each]
    found += ["0.5", f"0.{row}"]
    if column.base != "numeric" or column.modifier < 4:
        return found
    whole = ((column.modifier - 4) >> 16) - ((column.modifier - 4) & 0x7FF)
    return [each for each in found if abs(float(each)) < 10.0**whole]


def _others(column: Column, row: int) -> list[str]:
    size = max(column.modifier, 1)
    if column.kind == "A":
        return ["{}"]
    if column.base in ("bit", "varbit"):
        return ["01"[row % 2] * size]
    if column.base in ("vector", "halfvec"):
        return [f"[{','.join([str(row)] * size)}]"]
    return _MAKERS[column.base](row) if column.base in _MAKERS else []


def _texts(column: Column, row: int) -> list[str]:
    uuid, mail, link = (
        f"00000000-0000-4000-8000-{row:012}",
        f"value{row}@example.com",
        f"https://example.com/{row}",
    )
    phone, word = f"+49301234{row:04}", f"value{row}"
    letters = chr(ord("a") + row % 26)
    name = column.name.lower()
    likely = [
        value
        for hint, value in (
            ("mail", mail),
            ("url", link),
            ("uri", link),
            ("link", link),
            ("phone", phone),
            ("uuid", uuid),
        )
        if hint in name
    ]
    return [
        *likely,
        word,
        letters,
        letters.upper() * 2,
        letters.upper() * 3,
        str(row),
        mail,
        link,
        uuid,
        phone,
        f"2024-01-{row:02}",
        "{}",
        "",
    ]


def _turned(values: list[str], row: int) -> list[str]:
    """The values, beginning with another one for each row."""
    start = (row - 1) % len(values) if values else 0
    return values[start:] + values[:start]


def _near(number: str) -> list[str]:
    if "." in number:
        return [number]
    return [number, str(int(number) + 1), str(int(number) - 1)]


def _number(row: int) -> list[str]:
    return [str(row), str(10 * row), "0", str(1000 + row), str(-row)]


_TEXT: Final = ("text", "varchar", "bpchar", "citext", "name", "char")
_NUMBERS: Final = ("int2", "int4", "int8", "numeric", "float4", "float8", "money")

_MAKERS: Final[dict[str, Callable[[int], list[str]]]] = {
    "oid": _number,
    "bool": lambda row: ["true", "false"] if row % 2 else ["false", "true"],
    "uuid": lambda row: [f"00000000-0000-4000-8000-{row:012}"],
    "date": lambda row: [f"2024-01-{row % 28 + 1:02}"],
    "timestamp": lambda row: [f"2024-01-{row % 28 + 1:02} 12:00:00"],
    "timestamptz": lambda row: [f"2024-01-{row % 28 + 1:02} 12:00:00+00"],
    "time": lambda row: [f"{row % 24:02}:00:00"],
    "timetz": lambda row: [f"{row % 24:02}:00:00+00"],
    "interval": lambda row: [f"{row} hours"],
    "json": lambda row: ["{}", "[]", str(row)],
    "jsonb": lambda row: ["{}", "[]", str(row)],
    "bytea": lambda row: [f"\\x{row:02x}"],
    "inet": lambda row: [f"192.0.2.{row % 255}"],
    "cidr": lambda row: [f"192.0.2.{row % 255}/32"],
    "macaddr": lambda row: [f"00:00:5e:00:53:{row % 256:02x}"],
    "tsvector": lambda row: [f"value{row}"],
    "ltree": lambda row: [f"value{row}"],
    "hstore": lambda row: [f"key=>{row}"],
    "xml": lambda row: [f"<value>{row}</value>"],
    "point": lambda row: [f"({row},{row})"],
    "geometry": lambda row: [f"SRID=4326;POINT({row} {row})", f"POINT({row} {row})"],
    "geography": lambda row: [f"POINT({row} {row})"],
    **dict.fromkeys(("int4range", "int8range", "numrange"), lambda row: [f"[{row},{row + 1})"]),
    "daterange": lambda row: [f"[2024-01-{row % 28 + 1:02},2024-01-{row % 28 + 1:02}]"],
    "tsrange": lambda row: [f"[2024-01-{row % 28 + 1:02} 12:00,2024-01-{row % 28 + 1:02} 13:00)"],
    "tstzrange": lambda row: [f"[2024-01-{row % 28 + 1:02} 12:00+00,2024-01-{row % 28 + 1:02} 13:00+00)"],
}
