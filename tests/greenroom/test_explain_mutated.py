"""An explanation of a pasted text names what stands in the text and nothing else, however much of the text is missing.

Each text that is explained is printed for real, and then loses marks, lines of code, frames, parts of its chain or the end of
its message, or gets other names: what a log, a screenshot or an older Python leaves of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenroom.diagnosis
import greenroom.explain
from greenroom.diagnosis.explanation import Explanation
from greenroom.explain.pasted import explain_text
from tests.greenroom.explained import run

SOURCE = "\n".join(
    file.read_text()
    for package in (greenroom.explain, greenroom.diagnosis)
    for file in sorted(Path(package.__path__[0]).rglob("*.py"))
)
STATED = set(re.findall(r"(?=`([^`{}\n]+)`)", SOURCE))
"""Code that explanations quote in general, such as `await session.execute(…)`."""

WORDS = set(re.findall(r"\w+", re.sub(r"\{[^}]*\}", " ", SOURCE)))

MARKS = re.compile(r"^\s*[~^]+\s*$")
FRAME = re.compile(r'^ +File "')
TRACEBACK = "Traceback (most recent call last):"


def blocks(text: str) -> list[list[str]]:
    """A traceback as its frames, each with its code, and what stands before, between and after them."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if FRAME.match(line) or not line.startswith("    "):
            found.append([])
        found[-1].append(line)
    return found


def joined(parts: list[list[str]]) -> str:
    """The text again."""
    return "\n".join(line for part in parts for line in part) + "\n"


def is_frame(part: list[str]) -> bool:
    """Whether it is a frame, with its code."""
    return bool(part) and FRAME.match(part[0]) is not None


def mutated(text: str) -> Iterator[tuple[str, str]]:
    """What may be left of a text, each with what was done to it."""
    lines = text.splitlines()
    parts = blocks(text)
    frames = [number for number, part in enumerate(parts) if is_frame(part)]
    plain = "\n".join(line for line in lines if not MARKS.match(line)) + "\n"
    yield "no marks", plain
    yield "no code", joined([part[:1] if is_frame(part) else part for part in parts])
    for number in frames:
        yield f"without {parts[number][0].strip()}", joined(parts[:number] + parts[number + 1 :])
        yield (
            f"no code of {parts[number][0].strip()}",
            joined([*parts[:number], parts[number][:1], *parts[number + 1 :]]),
        )
        rest = blocks(plain)
        yield (
            f"no marks, without {parts[number][0].strip()}",
            joined(rest[:number] + rest[number + 1 :]),
        )
    for kept in range(1, len(frames)):
        early, late = set(frames[:-kept]), set(frames[kept:])
        yield (
            f"the last {kept} frames",
            joined([part for number, part in enumerate(parts) if number not in early]),
        )
        yield (
            f"the first {kept} frames",
            joined([part for number, part in enumerate(parts) if number not in late]),
        )
    for library in ("sqlalchemy", "asyncpg", "asyncio", "starlette", "fastapi"):
        yield (
            f"without {library}",
            joined([part for part in parts if not (is_frame(part) and f"/{library}/" in part[0])]),
        )
    yield "no frames", joined([part for part in parts if not is_frame(part)])
    starts = [number for number, line in enumerate(lines) if line.strip() == TRACEBACK]
    for number in starts[1:]:
        yield "the end of the chain", "\n".join(lines[number:]) + "\n"
        yield "the beginning of the chain", "\n".join(lines[:number]) + "\n"
    for names in ({"provider": "vendor", "connection": "wire"}, {"session": "db", "found": "row"}):
        yield f"{names}", re.sub(r"\b\w+\b", lambda word, names=names: names.get(word[0], word[0]), text)  # type: ignore[misc]
    for end in (1, 2, 3):
        yield f"without its last {end} lines", "\n".join(lines[:-end]) + "\n"


def wrong(explanation: Explanation, text: str) -> list[str]:
    """What an explanation names that its text does not hold."""
    flat, words = " ".join(text.split()), set(re.findall(r"\w+", text))
    said = f"{explanation.title}\n{explanation.what}\n{explanation.evidence}"
    found = []
    for code in re.findall(r"`([^`]+)`", said):
        if code in STATED:
            continue
        parts = set(re.findall(r"\w+", code))
        if " ".join(code.split()) not in flat and not parts <= words:
            found.append(f"`{code}`")
    for name in re.findall(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.sub(r"`[^`]+`", "", said)):
        missing = set(name.split(".")) - words - WORDS
        if missing:
            found.append(name)
    file, _, number = explanation.where.rpartition(":")
    if explanation.where and f'File "{file}", line {number}' not in text and explanation.where not in text:
        found.append(explanation.where)
    return found


def read(explanation: Explanation) -> set[str]:
    """The attributes that the fixes are about, without the word that stands for one."""
    code = "\n".join(code for _, code in explanation.fixes)
    found = re.findall(r"(?:selectinload|undefer)\(\w+\.(\w+)\)|attribute_names=\[\"(\w+)\"", code)
    return {name for pair in found for name in pair if name} - {"attribute"}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, server_url: str) -> dict[str, str]:
    """What pytest prints of each test of the project `explained`, in Python's own form, by the test's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENROOM_SERVER_URL", server_url)
        for name in ("GREENROOM_WORKER", "PYTEST_ADDOPTS", "DATABASE_URL", "PYTEST_XDIST_WORKER"):
            patch.delenv(name, raising=False)
        arguments = ("-p", "no:greenroom-explaining", "--tb=native", "--show-capture=no")
        output = run(tmp_path_factory.mktemp("mutated") / "explained", "asyncpg", *arguments).stdout
    parts = re.split(r"^_{3,} (?:ERROR at \w+ of )?(\w+) _{3,}$", output, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        found[name] = found.get(name, "") + text.split("\n====")[0]
    return {name: text for name, text in found.items() if explain_text(text)}


def test_mutated(printed: dict[str, str]) -> None:
    """Whatever is left of a text: no sentence names what it does not hold, and no fix is about another attribute."""
    assert len(printed) > 40
    faults: list[str] = []
    for name, text in printed.items():
        whole = explain_text(text)
        known = {attribute for explanation in whole for attribute in read(explanation)}
        sections = {explanation.section for explanation in whole}
        for explanation in whole:
            faults += [f"{name}, whole: {each}" for each in wrong(explanation, text)]
        for how, left in mutated(text):
            for explanation in explain_text(left):
                faults += [
                    f"{name}, {how}: names {each}\n    {explanation.what}"
                    for each in wrong(explanation, left)
                ]
                others = read(explanation) - known
                # Without a property's own frame, the text says that what reads the property reads the attribute.
                if others and not re.search(r"^\{|without File \"[^\"]*/(?:vault|tests)/", how):
                    faults.append(f"{name}, {how}: fixes {others}, not {known}")
                # Other names stand in the libraries' own words, too, which are then not known any more.
                if (
                    explanation.section not in sections
                    and not is_general(explanation)
                    and "chain" not in how
                    and "{" not in how
                ):
                    faults.append(f"{name}, {how}: {explanation.title}, not {sections}")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:60])


def is_general(explanation: Explanation) -> bool:
    """Whether it stays with what the error's own words say."""
    return any(words in explanation.title for words in GENERAL)


GENERAL = (
    "outside of an awaited call",
    "an attribute was read",
    "an event loop was used after it was closed",
)
