"""The code blocks of docs/, and how each of them says that it is run.

A comment in the line above a block says it; on a page it is not seen:

    <!-- run: app tests/api/test_it.py -->  a test file of the reference service, or commands in a copy of it
    <!-- run: shop, fails -->               the same in the project `shop`; it is to fail
    <!-- snippet: explained -->             lines of a test file or of an asynchronous function, which find the usual names
    <!-- write: shop tests/conftest.py -->  a file that the blocks after it on this page find
    <!-- output -->                         what the block above has printed, `…` standing for anything
    <!-- run by: tests/docker/test_it.py -->  commands that this test runs
    <!-- not run: Docker's own commands --> why it is not; only on pages that do not teach

TOML, YAML and Makefiles need no comment: the programs that read such files load them. On the page of errors, a block of
plain text needs none either: it quotes errors, and test_explain.py compares them with real ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

LOADED = ("toml", "yaml", "make")
"""Languages whose blocks are loaded where no comment says something else."""

STRICT = ("testing-guide", "how-it-works", "faq")
"""Pages on which each block is run here."""

QUOTED = ("faq",)
"""Pages whose blocks of plain text quote errors."""

_BLOCK = re.compile(
    r"^(?P<comment><!--[^\n]*-->\n)?(?P<fence>```+)(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_HOW = re.compile(
    r"<!-- (?:(run|snippet|write|output|run by)(?:: (\S+?)(?: (\S+?))?(, fails)?)?|(not run): .+) -->\n"
)


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        page: The page.
        line: The line of its first line of code.
        language: What stands behind the backticks.
        text: The code.
        how: The way it is run: the first words of its comment, `load` or `quote`; empty if it does not say.
        project: The project that it belongs to, or the file after `run by`.
        path: The file that it is written to.
        fails: It is to fail.
        written: The blocks before it that it finds as files.
        printing: The block whose output it shows.
    """

    page: Path
    line: int
    language: str
    text: str
    how: str = ""
    project: str = ""
    path: str = ""
    fails: bool = False
    written: tuple[Block, ...] = field(default=(), repr=False)
    printing: Block | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def strict(self) -> bool:
        """Whether its page is one on which each block is run here."""
        return self.page.stem in STRICT

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Of a console, each command with the output below it."""
        parts = re.split(r"^\$ (.*)\n", self.text, flags=re.MULTILINE)
        assert not parts[0].strip(), f"{self}: a console begins with a command"
        return list(zip(parts[1::2], parts[2::2], strict=True))


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page, in order. Directives of the site's are none."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        if match["language"].startswith("{"):
            continue
        how, project, path, fails = "", "", "", False
        told = _HOW.fullmatch(match["comment"] or "")
        if told is not None:
            how, project, path, fails = told[1] or told[5], told[2] or "", told[3] or "", bool(told[4])
        elif match["language"] in LOADED:
            how = "load"
        elif match["language"] == "text" and page.stem in QUOTED:
            how = "quote"
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, match.start("text")) + 1,
                language=match["language"],
                text=match["text"],
                how=how,
                project=project,
                path=path,
                fails=fails,
                written=tuple(one for one in found if (one.how, one.project) == ("write", project)),
                printing=next((one for one in reversed(found) if one.how == "run"), None)
                if how == "output"
                else None,
            )
        )
    return found


def missing(expected: str, actual: str) -> str:
    """The first line of the expected output that does not follow in the actual one; empty if all do."""
    rest = iter(actual.splitlines())
    for line in filter(None, expected.splitlines()):
        pattern = re.compile(re.escape(line.rstrip()).replace("…", ".*"))
        if not any(pattern.fullmatch(one.rstrip()) for one in rest):
            return line
    return ""
